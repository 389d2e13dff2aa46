/**
 * The connections, over TCP and WebSocket, that have not said yet who they are: bounded by a number of their own, beside
 * EDGE_MAX_DEVICES for those that were let in, and by a time, so that silence at the door costs no more than that.
 */
import type { Transport } from './transport.js';

const MAX_AT_THE_DOOR = 4_096;

export class Door {
  readonly #waiting = new Map<Transport, NodeJS.Timeout>();

  /** @param timeoutMs how long one may wait */
  constructor(private readonly timeoutMs: number) {}

  /** True where nobody may come to the door now. */
  get isFull(): boolean {
    return this.#waiting.size >= MAX_AT_THE_DOOR;
  }

  /** A connection has come; it is ended where it does not leave in time. */
  enter(transport: Transport): void {
    this.#waiting.set(
      transport,
      setTimeout(() => transport.destroy(), this.timeoutMs),
    );
  }

  /** It was let in, or is gone. */
  leave(transport: Transport): void {
    clearTimeout(this.#waiting.get(transport));
    this.#waiting.delete(transport);
  }

  /** Sends all away. */
  clear(): void {
    for (const transport of [...this.#waiting.keys()]) transport.destroy();
  }
}
