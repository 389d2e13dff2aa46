/**
 * One session with a router's intake, as an edge has it (frames in shared/links.ts): HELLO → WELCOME, then DATA as far as the
 * credit goes, each naming the batch sent before it, until the router has acked the last one or the session ends.
 *
 * The edge's own sender is a thread beside a writer that goes on; this one has an end to reach, and a caller that starts the
 * next session. What both must agree on is the router's side of the protocol, not code.
 */
import { Dealer } from 'zeromq';
import { readBatchHeader } from '../../shared/batch.js';
import { HoldfastError, messageOf } from '../../shared/errors.js';
import {
  decodeStanding,
  encodeDataHeader,
  encodeHello,
  LinkType,
  SOCKET_OPTIONS,
  type Standing,
} from '../../shared/links.js';
import { comparePositions, START, type Position } from '../../shared/position.js';
import type { Peek } from '../../shared/queue/reader.js';
import { Signal } from '../../shared/signal.js';

/** What is sent: a queue, or a reader of one. */
export interface Source {
  readonly id: string;
  readonly head: Position;
  peek(after: Position, maxBytes: number): Peek;
}

export interface UplinkOptions {
  readonly router: string;
  readonly shard: string;
  readonly source: Source;
  /** Called with every position that the router holds, and its credit. */
  readonly onStanding: (standing: Standing) => void;
  readonly onSent: (records: number, bytes: number) => void;
  readonly onDamaged: (position: Position) => void;
}

const REPLY_TIMEOUT_MS = 5_000;
/** Also what an abort waits for. */
const SEND_TIMEOUT_MS = 1_000;
const TICK_MS = 250;
const PEEK_BYTES = 1024 * 1024;

export class Uplink {
  readonly #socket = new Dealer({
    ...SOCKET_OPTIONS,
    sendTimeout: SEND_TIMEOUT_MS,
    sendHighWaterMark: 64,
    receiveHighWaterMark: 1_024,
  });
  readonly #wake = new Signal();
  #standing: Standing | undefined;
  /** The batch sent last, which the next DATA names; undefined before the WELCOME. */
  #sentThrough: Position | undefined;
  /** How far the source was read: beyond what was sent where batches are damaged. */
  #readThrough = START;
  #unacked: { readonly position: Position; readonly bytes: number }[] = [];
  #unackedBytes = 0;
  #heardMs = Date.now();
  #over: string | undefined;
  #refusal: HoldfastError | undefined;
  /** Counts the WELCOMEs: what was peeked before one is not what to send after it. */
  #welcomes = 0;

  constructor(private readonly options: UplinkOptions) {
    this.#socket.events.on('disconnect', () => this.#end('the connection broke'));
  }

  /**
   * Runs until the router holds the source through its head, or the session ends, or `signal` aborts.
   * @returns undefined where all is held, or why the session ended
   * @throws HoldfastError link_refused where the router does not take this queue at all
   */
  async run(signal: AbortSignal): Promise<string | undefined> {
    const { router, shard, source } = this.options;
    const abort = (): void => this.#end('stopped');
    signal.addEventListener('abort', abort);
    this.#socket.connect(router);
    const receiving = this.#receive();
    try {
      await this.#socket.send([encodeHello({ queueId: source.id, next: source.head, shard })]);
      this.#heardMs = Date.now();
      while (this.#over === undefined && !this.#done) await this.#step();
    } catch (error) {
      this.#end(messageOf(error));
    } finally {
      signal.removeEventListener('abort', abort);
      this.#socket.close();
    }
    await receiving;
    if (this.#refusal !== undefined) throw this.#refusal;
    return this.#done ? undefined : this.#over;
  }

  /** All that can be read was sent and acked. */
  get #done(): boolean {
    if (this.#sentThrough === undefined || this.#unacked.length > 0) return false;
    return comparePositions(this.#readThrough, this.options.source.head) >= 0;
  }

  async #step(): Promise<void> {
    const isDue = this.#standing === undefined || this.#unackedBytes > 0;
    if (isDue && Date.now() - this.#heardMs > REPLY_TIMEOUT_MS) {
      this.#end(`no answer in ${REPLY_TIMEOUT_MS} ms`);
      return;
    }
    const roomBytes = (this.#standing?.creditBytes ?? 0) - this.#unackedBytes;
    const isRead = comparePositions(this.#readThrough, this.options.source.head) >= 0;
    if (this.#sentThrough === undefined || roomBytes <= 0 || isRead) await this.#wake.wait(TICK_MS);
    else await this.#send(this.#sentThrough, roomBytes);
  }

  async #send(sentThrough: Position, roomBytes: number): Promise<void> {
    const { batches, damaged, through } = this.options.source.peek(this.#readThrough, Math.min(PEEK_BYTES, roomBytes));
    for (const position of damaged) this.options.onDamaged(position);
    const welcomes = this.#welcomes;
    let previous = sentThrough;
    for (const batch of batches) {
      if (welcomes !== this.#welcomes || this.#over !== undefined) return;
      const { position, records } = readBatchHeader(batch);
      if (this.#unackedBytes === 0) this.#heardMs = Date.now();
      this.#unacked.push({ position, bytes: batch.length });
      this.#unackedBytes += batch.length;
      this.#sentThrough = position;
      await this.#socket.send([encodeDataHeader(previous), batch]);
      this.options.onSent(records, batch.length);
      previous = position;
    }
    // Where nothing at all was there the queue ends before its head: what was there is released or set aside.
    const isEnd = comparePositions(through, this.#readThrough) === 0;
    if (welcomes === this.#welcomes) this.#readThrough = isEnd ? this.options.source.head : through;
  }

  async #receive(): Promise<void> {
    try {
      for await (const [frame] of this.#socket) this.#take(frame);
    } catch (error) {
      this.#end(messageOf(error));
    }
  }

  #take(frame: Buffer | undefined): void {
    const standing = frame === undefined ? undefined : decodeStanding(frame);
    if (frame?.[0] === LinkType.refused) {
      const reason = frame.toString('utf8', 1);
      const message = `the router at ${this.options.router} refused: ${reason}`;
      if (this.#standing === undefined) this.#refusal = new HoldfastError('link_refused', message, false);
      this.#end(message);
    } else if (standing === undefined) {
      this.#end('the router sent a frame that is neither WELCOME, ACK nor REFUSED');
    } else {
      this.#settle(standing);
      if (frame?.[0] === LinkType.welcome) this.#goOnAfter(standing.stored);
      this.#wake.fire();
    }
  }

  #settle(standing: Standing): void {
    this.#heardMs = Date.now();
    this.#standing = standing;
    const held = this.#unacked.findIndex(({ position }) => comparePositions(position, standing.stored) > 0);
    for (const { bytes } of this.#unacked.splice(0, held < 0 ? this.#unacked.length : held))
      this.#unackedBytes -= bytes;
    this.options.onStanding(standing);
  }

  #goOnAfter(stored: Position): void {
    this.#welcomes++;
    this.#unacked = [];
    this.#unackedBytes = 0;
    this.#sentThrough = stored;
    this.#readThrough = stored;
  }

  #end(reason: string): void {
    this.#over ??= reason;
    this.#wake.fire();
  }
}
