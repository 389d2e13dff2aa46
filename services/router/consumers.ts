/**
 * The consumer endpoint (ROUTER socket): ATTACH, FETCH and ACK of the durable subscribers, and their cursors.
 *
 * Consumers are registered by configuration, so nothing is released before they have ever been there. A batch is released
 * when every one of them has acked it; with none registered, as soon as it is committed: ROUTER_RETAIN is then all that
 * fetches find. A consumer trusts its
 * own durable position over the cursor kept here, so the cursor may be a little behind after a crash.
 */
import { Router } from 'zeromq';
import {
  decodeRequest,
  encodeAttached,
  encodeConsumerRefused,
  encodeFetched,
  type Fetch,
} from '../../shared/consumer-frames.js';
import type { Part } from '../../shared/lifecycle.js';
import { RECEIVING_OPTIONS } from '../../shared/links.js';
import { CatchUp } from '../../shared/catch-up.js';
import { LimitedLog } from '../../shared/limited-log.js';
import type { Logger } from '../../shared/log.js';
import { comparePositions, formatPosition, START, type Position } from '../../shared/position.js';
import type { Queue } from '../../shared/queue/queue.js';
import { SendLoop } from '../../shared/send-loop.js';
import type { RouterMetrics } from './metrics.js';

const CURSOR_PREFIX = 'cursor/';
const REPLY_BACKLOG_BYTES = 64 * 1024 * 1024;
/** Replies of up to MAX_FETCH_BYTES that one consumer may leave unread; it asks one at a time. */
const UNREAD_REPLIES = 16;
const MAX_PEERS = 1_024;
/** How often is looked whether a consumer keeps up. */
const PROGRESS_MS = 1_000;

export class Consumers implements Part {
  readonly name = 'consumer endpoint';
  readonly #socket = new Router({
    ...RECEIVING_OPTIONS,
    mandatory: true,
    receiveHighWaterMark: 256,
    sendHighWaterMark: UNREAD_REPLIES,
  });
  readonly #replies: SendLoop;
  readonly #cursors = new Map<string, Position>();
  /** Which consumer attached under which ZeroMQ identity. */
  readonly #peers = new Map<string, string>();
  readonly #lines: LimitedLog;
  readonly #progress: ReadonlyMap<string, CatchUp>;
  #watch: NodeJS.Timeout | undefined;
  #receiving: Promise<void> | undefined;

  constructor(
    private readonly endpoint: string,
    private readonly names: readonly string[],
    private readonly queue: Queue,
    private readonly metrics: RouterMetrics,
    private readonly log: Logger,
    private readonly onFailure: (error: unknown) => void,
  ) {
    this.#lines = new LimitedLog(log);
    const words = (name: string): [string, CatchUp] => [
      name,
      new CatchUp(log, { behind: `consumer ${name} is behind`, caughtUp: `consumer ${name} has caught up` }),
    ];
    this.#progress = new Map(names.map(words));
    this.#replies = new SendLoop(this.#socket, REPLY_BACKLOG_BYTES, (_, frames) => {
      this.#peers.delete((frames[0] as Buffer).toString('latin1'));
    });
  }

  /** How far each consumer is behind the head, in batches. */
  lags(): ReadonlyMap<string, number> {
    const head = this.queue.head.offset;
    return new Map([...this.#cursors].map(([name, cursor]) => [name, Math.max(0, head - cursor.offset)]));
  }

  async start(): Promise<void> {
    await this.#register();
    await this.#socket.bind(this.endpoint);
    this.#receiving = this.#receive();
    this.#receiving.catch(this.onFailure);
    this.#releaseAcked();
    this.#watch = setInterval(() => this.#noteProgress(), PROGRESS_MS);
    if (this.names.length === 0) this.queue.onAppend(() => this.#releaseAcked());
  }

  async stop(): Promise<void> {
    clearInterval(this.#watch);
    this.#replies.close();
    this.#socket.close();
    await this.#receiving;
  }

  /** Gives every registered consumer a cursor, and forgets the cursors of those that are registered no more. */
  async #register(): Promise<void> {
    for (const name of this.queue.positions(CURSOR_PREFIX).keys()) {
      if (this.names.includes(name)) continue;
      this.log.warn({ consumer: name }, 'forgot the cursor of a consumer that ROUTER_CONSUMERS does not name');
      await this.queue.removePosition(CURSOR_PREFIX + name);
    }
    for (const name of this.names) {
      const cursor = this.queue.position(CURSOR_PREFIX + name);
      this.#cursors.set(name, cursor ?? this.queue.released);
      if (cursor === undefined) this.queue.setPosition(CURSOR_PREFIX + name, this.queue.released);
    }
  }

  async #receive(): Promise<void> {
    for await (const frames of this.#socket) {
      const [identity, frame] = frames as [Buffer, Buffer | undefined];
      const request = frame === undefined ? undefined : decodeRequest(frame);
      if (request === undefined) this.#refuse(identity, 'not a request of a consumer');
      else if (request.type === 'attach') this.#attach(identity, request.name);
      else if (request.type === 'fetch') this.#fetch(identity, request);
      else this.#ack(identity, request.position);
    }
  }

  #attach(identity: Buffer, name: string): void {
    const cursor = this.#cursors.get(name);
    if (cursor === undefined) {
      this.#refuse(identity, `${JSON.stringify(name)} is not registered here: add it to ROUTER_CONSUMERS`);
      return;
    }
    for (const [key, attached] of this.#peers) if (attached === name) this.#peers.delete(key);
    if (this.#peers.size >= MAX_PEERS) this.#peers.clear();
    this.#peers.set(identity.toString('latin1'), name);
    this.#lines.tell('info', { consumer: name, cursor: formatPosition(cursor) }, 'consumer attached');
    this.#replies.push([identity, encodeAttached({ queueId: this.queue.id, cursor, head: this.queue.head })]);
  }

  #fetch(identity: Buffer, fetch: Fetch): void {
    if (!this.#peers.has(identity.toString('latin1'))) {
      this.#refuse(identity, 'ATTACH first');
      return;
    }
    const { batches, through } = this.queue.peek(fetch.after, fetch.maxBytes);
    const header = encodeFetched({ request: fetch.request, through, head: this.queue.head });
    // Where the backlog of replies is full the consumer asks again: it bounds its own waiting.
    this.#replies.push([identity, header, ...batches]);
  }

  #ack(identity: Buffer, position: Position): void {
    const name = this.#peers.get(identity.toString('latin1'));
    if (name === undefined) {
      this.#refuse(identity, 'ATTACH first');
      return;
    }
    if (comparePositions(position, this.queue.head) > 0) {
      this.#refuse(identity, `${formatPosition(position)} is after the head ${formatPosition(this.queue.head)}`);
      return;
    }
    const cursor = this.#cursors.get(name) ?? START;
    if (comparePositions(position, cursor) <= 0) return;
    this.#cursors.set(name, position);
    this.queue.setPosition(CURSOR_PREFIX + name, position);
    this.#releaseAcked();
  }

  #noteProgress(): void {
    for (const [name, progress] of this.#progress) progress.note(this.queue.head, this.#cursors.get(name) ?? START);
  }

  /** Releases what every registered consumer has acked; also at the start, where one is registered no more. */
  #releaseAcked(): void {
    const cursors = [...this.#cursors.values()];
    this.queue.release(cursors.reduce((a, b) => (comparePositions(a, b) <= 0 ? a : b), this.queue.head));
  }

  #refuse(identity: Buffer, reason: string): void {
    this.#lines.tell('warn', { reason }, 'refused a request of a consumer');
    this.metrics.rejected.inc({ reason: 'consumer' });
    this.#replies.push([identity, encodeConsumerRefused(reason)]);
  }
}
