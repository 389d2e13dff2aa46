/**
 * What a running router still holds, read over its consumer endpoint (shared/consumer-frames.ts): ATTACH under a consumer's name
 * says which queue it has and how far that consumer has acked, FETCH gives the batches behind any position. Nothing is acked.
 *
 * A router knows one peer a consumer: who attaches under the name of a consumer that is at work takes its place, and that one
 * attaches again. So this is for consumers that are stopped.
 */
import { Dealer } from 'zeromq';
import { readBatchHeader, checkBatch, type BatchHeader } from '../../shared/batch.js';
import {
  decodeReply,
  encodeAttach,
  encodeFetch,
  type Attached,
  type RouterReply,
} from '../../shared/consumer-frames.js';
import { HoldfastError, messageOf } from '../../shared/errors.js';
import { SOCKET_OPTIONS } from '../../shared/links.js';
import { comparePositions, START, type Position } from '../../shared/position.js';

const TIMEOUT_MS = 5_000;

export class RouterLog {
  readonly #socket = new Dealer({ ...SOCKET_OPTIONS, sendTimeout: TIMEOUT_MS, receiveTimeout: TIMEOUT_MS });
  #attached: Attached | undefined;
  #request = 0;

  private constructor(private readonly endpoint: string) {
    this.#socket.connect(endpoint);
  }

  /**
   * Attaches under a consumer's name.
   * @throws HoldfastError link_closed (retry) where the router does not answer; not_registered where it does not know the name
   */
  static async attach(endpoint: string, consumer: string): Promise<RouterLog> {
    const router = new RouterLog(endpoint);
    try {
      const [reply] = await router.#ask(encodeAttach(consumer));
      if (reply.type !== 'attached') throw router.#trouble('it did not answer ATTACH');
      router.#attached = reply;
      return router;
    } catch (error) {
      router.close();
      throw error;
    }
  }

  get attached(): Attached {
    return this.#attached!;
  }

  /** The first batch after a position; undefined: there is none. */
  async firstAfter(after: Position): Promise<BatchHeader | undefined> {
    const request = ++this.#request;
    const [reply, batch] = await this.#ask(encodeFetch({ request, after, maxBytes: 1 }));
    if (reply.type !== 'fetched' || reply.request !== request) throw this.#trouble('it did not answer FETCH');
    if (batch !== undefined) {
      checkBatch(batch);
      return readBatchHeader(batch);
    }
    // A damaged batch was passed over; what comes behind it is asked for.
    return comparePositions(reply.through, after) > 0 ? this.firstAfter(reply.through) : undefined;
  }

  /**
   * The position behind which everything lies that the router committed at a time or after it. Bisects by offset, which counts
   * on over epochs; a batch's time is the router's clock at its commit.
   */
  async positionBefore(timeMs: number): Promise<Position> {
    const first = await this.firstAfter(START);
    if (first === undefined || first.committedMs >= timeMs) return START;
    // Invariant: `low` was committed before the time; nothing that was from `highOffset` on.
    let low = first.position;
    let highOffset = this.attached.head.offset + 1;
    while (highOffset - low.offset > 1) {
      const middle = low.offset + Math.floor((highOffset - low.offset) / 2);
      const probe = await this.firstAfter({ epoch: low.epoch, offset: middle - 1 });
      if (probe === undefined || probe.position.offset >= highOffset) highOffset = middle;
      else if (probe.committedMs < timeMs) low = probe.position;
      // The first of a later epoch, or behind a gap, can stand before the middle of offsets or after it.
      else highOffset = Math.min(middle, probe.position.offset);
    }
    return low;
  }

  close(): void {
    this.#socket.close();
  }

  async #ask(frame: Buffer): Promise<[RouterReply, Buffer | undefined]> {
    let frames: Buffer[];
    try {
      await this.#socket.send([frame]);
      frames = await this.#socket.receive();
    } catch (error) {
      throw this.#trouble(messageOf(error), error);
    }
    const reply = frames[0] === undefined ? undefined : decodeReply(frames[0]);
    if (reply === undefined) throw this.#trouble('it sent a message that is no reply to a consumer');
    if (reply.type === 'refused') {
      throw new HoldfastError('not_registered', `the router at ${this.endpoint} refused: ${reply.reason}`, false);
    }
    return [reply, frames[1]];
  }

  #trouble(what: string, cause?: unknown): HoldfastError {
    const message = `the router at ${this.endpoint}, its consumer endpoint, cannot be asked: ${what}`;
    return new HoldfastError('link_closed', message, true, cause);
  }
}
