/**
 * The edge's monitor thread: sends the queue's batches to the router (DEALER) and releases what the router holds on disk.
 *
 * A session is one socket: HELLO → WELCOME, then DATA as far as the credit goes, each naming the batch sent before it, and
 * ACKs that release. Whatever goes wrong (a disconnect, no ack in time, a frame that makes no sense) ends the session; the
 * next one has a new socket, so that nothing the old one still held can arrive, and goes on after what WELCOME names.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { Dealer } from 'zeromq';
import { readBatchHeader } from '../../shared/batch.js';
import { messageOf } from '../../shared/errors.js';
import {
  decodeStanding,
  encodeDataHeader,
  encodeHello,
  LinkType,
  SOCKET_OPTIONS,
  type Standing,
} from '../../shared/links.js';
import { createLogger } from '../../shared/log.js';
import { runMonitorThread, type MonitorThread } from '../../shared/monitor-thread.js';
import { comparePositions, type Position } from '../../shared/position.js';
import { LinkLog } from './link-log.js';

export interface ForwardSettings {
  readonly router: string;
  readonly shard: string;
}

const REPLY_TIMEOUT_MS = 5_000;
/** How long a send may wait for a connection or for space in it; also what a stop may wait for. */
const SEND_TIMEOUT_MS = 1_000;
/** How often an edge without credit, or with nothing to send, looks at its timers. */
const TICK_MS = 250;
const PEEK_BYTES = 1024 * 1024;
const MAX_BACKOFF_MS = 2_000;
const FIRST_BACKOFF_MS = 50;

interface Unacked {
  readonly position: Position;
  readonly bytes: number;
  readonly records: number;
  readonly sentMs: number;
}

class Session {
  readonly #socket: Dealer;
  #standing: Standing | undefined;
  #sentThrough: Position | undefined;
  #unacked: Unacked[] = [];
  #unackedBytes = 0;
  /** By the clock that does not jump. */
  #heardMs = performance.now();
  #over: string | undefined;
  /** Counts the WELCOMEs: what was peeked before one is not what to send after it. */
  #welcomes = 0;

  constructor(
    private readonly thread: MonitorThread<ForwardSettings>,
    private readonly log: LinkLog,
  ) {
    this.#socket = new Dealer({
      ...SOCKET_OPTIONS,
      sendTimeout: SEND_TIMEOUT_MS,
      sendHighWaterMark: 64,
      // As many ACKs as batches under way; with room for all no heartbeat meets a full receive queue (RECEIVING_OPTIONS).
      receiveHighWaterMark: 0,
    });
    this.#socket.events.on('disconnect', () => this.#end('the connection broke'));
    this.#socket.connect(thread.settings.router);
  }

  /** Runs until the thread stops or the session is over. @returns why it ended, and whether it had begun */
  async run(): Promise<{ readonly reason: string; readonly welcomed: boolean }> {
    const receiving = this.#receive();
    try {
      await this.#hello();
      while (this.#over === undefined && !this.thread.stopped) await this.#step();
    } catch (error) {
      this.#end(messageOf(error));
    }
    this.#end('stopped');
    this.#socket.close();
    await receiving;
    return { reason: this.#over ?? 'stopped', welcomed: this.#standing !== undefined };
  }

  async #hello(): Promise<void> {
    const { queueId, head, settings } = this.thread;
    await this.#socket.send([encodeHello({ queueId, next: head, shard: settings.shard })]);
    this.#heardMs = performance.now();
  }

  async #step(): Promise<void> {
    if (this.#standing !== undefined) this.log.progress(this.thread.head);
    const quietMs = performance.now() - this.#heardMs;
    if (quietMs > REPLY_TIMEOUT_MS && (this.#standing === undefined || this.#unackedBytes > 0)) {
      this.#end(`no answer from the router in ${REPLY_TIMEOUT_MS} ms`);
      return;
    }
    const roomBytes = (this.#standing?.creditBytes ?? 0) - this.#unackedBytes;
    if (this.#sentThrough === undefined || roomBytes <= 0 || !(await this.#send(this.#sentThrough, roomBytes))) {
      await this.thread.wake.wait(TICK_MS);
    }
  }

  /** Sends what follows `after`. @returns false where there was nothing */
  async #send(after: Position, roomBytes: number): Promise<boolean> {
    const { batches } = this.thread.peek(after, Math.min(PEEK_BYTES, roomBytes));
    const welcomes = this.#welcomes;
    let previous = after;
    for (const batch of batches) {
      if (welcomes !== this.#welcomes || this.#over !== undefined) return true;
      const { position, records } = readBatchHeader(batch);
      this.#sentThrough = position;
      this.#unacked.push({ position, bytes: batch.length, records, sentMs: Date.now() });
      if (this.#unackedBytes === 0) this.#heardMs = performance.now();
      this.#unackedBytes += batch.length;
      await this.#socket.send([encodeDataHeader(previous), batch]);
      previous = position;
    }
    return batches.length > 0;
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
      this.#end(`the router refused: ${frame.toString('utf8', 1)}`);
    } else if (standing === undefined) {
      this.#end('the router sent a frame that is neither WELCOME, ACK nor REFUSED');
    } else {
      this.#heardMs = performance.now();
      this.#standing = standing;
      this.log.standing(standing.stored, standing.creditBytes);
      this.#settle(standing.stored);
      if (frame?.[0] === LinkType.welcome) this.#goOnAfter(standing.stored);
      this.thread.wake.fire();
    }
  }

  /** Releases what the router holds. */
  #settle(stored: Position): void {
    let count = 0;
    let records = 0;
    let sentMs = 0;
    for (const entry of this.#unacked) {
      if (comparePositions(entry.position, stored) > 0) break;
      count++;
      records += entry.records;
      sentMs = entry.sentMs;
      this.#unackedBytes -= entry.bytes;
    }
    this.#unacked.splice(0, count);
    this.thread.release(stored);
    if (count > 0) this.thread.report({ records, ackSeconds: (Date.now() - sentMs) / 1000 });
  }

  #goOnAfter(stored: Position): void {
    if (this.#sentThrough === undefined) {
      this.log.connected(stored);
      this.thread.report({ connected: 1 });
    }
    this.#welcomes++;
    this.#unacked = [];
    this.#unackedBytes = 0;
    this.#sentThrough = stored;
  }

  #end(reason: string): void {
    this.#over ??= reason;
    this.thread.wake.fire();
  }
}

await runMonitorThread(async (thread: MonitorThread<ForwardSettings>): Promise<void> => {
  let backoffMs = FIRST_BACKOFF_MS;
  const log = new LinkLog(createLogger('edge'), thread.settings.router);
  while (!thread.stopped) {
    const { reason, welcomed } = await new Session(thread, log).run();
    if (isStopped(thread)) return;
    thread.report({ connected: 0, sessions: 1 });
    log.lost(reason);
    backoffMs = welcomed ? FIRST_BACKOFF_MS : Math.min(2 * backoffMs, MAX_BACKOFF_MS);
    await sleep(backoffMs * (0.5 + Math.random() / 2));
  }
});

function isStopped(thread: MonitorThread<ForwardSettings>): boolean {
  return thread.stopped;
}
