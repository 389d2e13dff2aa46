/** What a consumer's work loop gets from its link to the router, and gives back. */
import type { Position } from './position.js';

/** Batches in queue order, all of one queue, contiguous with the delivery before. */
export interface Delivery {
  /** The router's queue: positions mean nothing without it. */
  readonly queueId: string;
  readonly batches: readonly Buffer[];
  /** The position of the last batch: what to ack once the effect of all of them is durable. */
  readonly through: Position;
}

/** What a consumer's work loop needs of its link; Consumer is the real one. */
export interface DeliverySource {
  /**
   * Waits for batches and returns up to about `maxBytes` of them (at least one batch).
   * @returns undefined once the source was stopped
   */
  read(maxBytes: number): Promise<Delivery | undefined>;
  /** Says that everything through `position` is durable at the consumer. */
  ack(queueId: string, position: Position): void;
}
