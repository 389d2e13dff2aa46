/**
 * A subscriber of the router's PUB socket: best effort, what PUB drops is not sent again. The frames stand in
 * consumer-frames.ts. A message that is no batch is counted and passed over; it never ends the subscriber.
 */
import { Subscriber } from 'zeromq';
import { checkBatch } from './batch.js';
import { BATCH_TOPIC, HEAD_TOPIC } from './consumer-frames.js';
import { HoldfastError } from './errors.js';
import type { Part } from './lifecycle.js';
import { RECEIVING_OPTIONS } from './links.js';
import { LimitedLog } from './limited-log.js';
import type { Logger } from './log.js';
import { comparePositions, POSITION_BYTES, readPosition, type Position } from './position.js';

export interface SubscriptionOptions {
  /** The router's PUB endpoint. */
  readonly publish: string;
  readonly log: Logger;
  /** Gets every batch that arrives, checked; it must not throw. */
  readonly onBatch: (batch: Buffer, position: Position, head: Position) => void;
  /** Gets the position of the last batch that was published, several times a second. */
  readonly onHead: (published: Position) => void;
  /** Hears when the connection is there, and when it is lost. */
  readonly onLink?: (connected: boolean) => void;
}

/** Batches that may wait to be taken before ZeroMQ lets go of more: 16 MiB of full batches. */
const RECEIVE_BATCHES = 64;
const SILENCE_MS = 2_000;

export class Subscription implements Part {
  readonly name = 'subscription';
  readonly #socket = new Subscriber({ ...RECEIVING_OPTIONS, receiveHighWaterMark: RECEIVE_BATCHES });
  readonly #faults: LimitedLog;
  #receiving: Promise<void> | undefined;
  #heardMs = 0;
  #malformed = 0;

  constructor(private readonly options: SubscriptionOptions) {
    this.#faults = new LimitedLog(options.log);
    this.#socket.events.on('handshake', () => options.onLink?.(true));
    this.#socket.events.on('disconnect', () => options.onLink?.(false));
  }

  /** True where the router was heard in the last seconds. */
  get connected(): boolean {
    return Date.now() - this.#heardMs < SILENCE_MS;
  }

  /** Messages that were passed over because they make no sense. */
  get malformed(): number {
    return this.#malformed;
  }

  start(): Promise<void> {
    this.#socket.connect(this.options.publish);
    this.#socket.subscribe(BATCH_TOPIC, HEAD_TOPIC);
    this.#receiving = this.#receive();
    return Promise.resolve();
  }

  async stop(): Promise<void> {
    this.#socket.close();
    await this.#receiving;
  }

  async #receive(): Promise<void> {
    for await (const frames of this.#socket) {
      const problem = this.#take(frames);
      if (problem === undefined) {
        this.#heardMs = Date.now();
      } else {
        this.#malformed++;
        this.#faults.tell('warn', { problem }, 'passed over a message of the router');
      }
    }
  }

  /** @returns what is wrong with the message, or undefined */
  #take([topic, positions, batch]: readonly Buffer[]): string | undefined {
    const position = positions === undefined ? undefined : readPosition(positions, 0);
    if (topic === undefined || positions === undefined || position === undefined) return 'it has no position';
    if (topic.toString('latin1') === HEAD_TOPIC) {
      this.options.onHead(position);
      return undefined;
    }
    const head = readPosition(positions, POSITION_BYTES);
    if (head === undefined || batch === undefined) return 'it has no head position or no batch';
    try {
      if (comparePositions(checkBatch(batch).position, position) !== 0) return 'the batch stands at another position';
    } catch (error) {
      if (error instanceof HoldfastError) return error.message;
      throw error;
    }
    this.options.onBatch(batch, position, head);
    return undefined;
  }
}
