/**
 * Intake: takes batches from edges (ROUTER socket) and commits each together with its edge's position, in one fsynced
 * transaction, before it acks.
 *
 *   accepted   the last position appended for an edge, on disk or on its way there
 *   stored     the last position on disk: all that WELCOME and ACK ever name
 *
 * A batch is taken only where it follows what was accepted; one that is not greater is a duplicate and is acked again; one
 * behind a gap makes the edge go back to `stored`. Batches that arrive while a commit is under way form the next one.
 * Credit bounds what edges may have under way here, and is 0 at the quota: then their own queues grow.
 */
import { Router } from 'zeromq';
import { checkBatch, MAX_BATCH_BYTES } from '../../shared/batch.js';
import { HoldfastError, messageOf } from '../../shared/errors.js';
import type { Part } from '../../shared/lifecycle.js';
import {
  decodeDataHeader,
  decodeHello,
  encodeRefused,
  encodeStanding,
  LinkType,
  RECEIVING_OPTIONS,
  type Hello,
} from '../../shared/links.js';
import type { Logger } from '../../shared/log.js';
import { comparePositions, START, type Position } from '../../shared/position.js';
import type { NamedPosition, Queue } from '../../shared/queue/queue.js';
import { SendLoop } from '../../shared/send-loop.js';
import { Signal } from '../../shared/signal.js';
import { creditOf } from './credit.js';
import { IntakeLog } from './intake-log.js';
import type { RouterMetrics } from './metrics.js';

interface Session {
  readonly identity: Buffer;
  readonly queueId: string;
  /** A WELCOME is on its way that makes the edge go back: what it sent before that is not for us. */
  rewinding: boolean;
  /** The edge was told credit 0 and waits. */
  starved: boolean;
  /** HELLO is answered once the commits under way for this edge are over. */
  welcomeDue: boolean;
}

/** A batch that waits for its commit, and where it stood in its edge's queue. */
interface Entry {
  readonly queueId: string;
  readonly position: Position;
  readonly batch: Buffer;
}

const SOURCE_PREFIX = 'source/';
const COMMIT_MAX_BYTES = 8 * 1024 * 1024;
/** How long, and up to how many bytes, a commit waits for more. */
const [GATHER_MS, GATHER_BYTES] = [5, 256 * 1024];
const MAX_SESSIONS = 4_096;
const STARVED_CHECK_MS = 250;
const REPLY_BACKLOG_BYTES = 16 * 1024 * 1024;

export class Intake implements Part {
  readonly name = 'intake';
  readonly #socket = new Router({
    ...RECEIVING_OPTIONS,
    mandatory: true,
    receiveHighWaterMark: 64,
    sendHighWaterMark: 1_024,
  });
  readonly #replies: SendLoop;
  readonly #log: IntakeLog;
  readonly #sessions = new Map<string, Session>();
  readonly #stored: Map<string, Position>;
  readonly #accepted: Map<string, Position>;
  readonly #gathered = new Signal();
  #pending: Entry[] = [];
  #pendingBytes = 0;
  #committing: Promise<void> | undefined;
  #receiving: Promise<void> | undefined;
  #starvedTimer: NodeJS.Timeout | undefined;
  #stopping = false;

  constructor(
    private readonly endpoint: string,
    private readonly shard: string,
    private readonly queue: Queue,
    private readonly metrics: RouterMetrics,
    log: Logger,
    private readonly onFailure: (error: unknown) => void,
  ) {
    this.#log = new IntakeLog(log);
    this.#stored = queue.positions(SOURCE_PREFIX);
    this.#accepted = new Map(this.#stored);
    // An edge that is gone is not an error: it says HELLO again when it is back.
    this.#replies = new SendLoop(this.#socket, REPLY_BACKLOG_BYTES, (_, frames) => this.#forget(frames[0] as Buffer));
  }

  get sessions(): number {
    return this.#sessions.size;
  }

  async start(): Promise<void> {
    await this.#socket.bind(this.endpoint);
    this.#receiving = this.#receive();
    this.#receiving.catch(this.onFailure);
    this.#starvedTimer = setInterval(() => this.#feedStarved(), STARVED_CHECK_MS);
  }

  /** Commits what it has taken, then closes; edges keep what was not acked. */
  async stop(): Promise<void> {
    this.#stopping = true;
    clearInterval(this.#starvedTimer);
    await this.#committing;
    this.#replies.close();
    this.#socket.close();
    await this.#receiving;
  }

  async #receive(): Promise<void> {
    for await (const frames of this.#socket) {
      // Edges that go on sending must not keep the last commit from coming.
      if (this.#stopping) continue;
      const [identity, head, body] = frames as [Buffer, Buffer | undefined, Buffer | undefined];
      if (head?.[0] === LinkType.data) this.#takeData(identity, head, body);
      else this.#takeHello(identity, head);
    }
  }

  #takeHello(identity: Buffer, frame: Buffer | undefined): void {
    const hello = frame === undefined ? undefined : decodeHello(frame);
    const problem = hello === undefined ? 'not a HELLO' : this.#problemOf(hello);
    if (hello === undefined || problem !== undefined) {
      this.#log.refusedPeer(problem ?? 'not a HELLO', frame?.length ?? 0);
      this.metrics.rejected.inc({ reason: 'hello' });
      this.#replies.push([identity, encodeRefused(problem ?? 'not a HELLO')]);
      return;
    }
    for (const [key, session] of this.#sessions) {
      if (session.queueId === hello.queueId) this.#sessions.delete(key);
    }
    const session = { identity, queueId: hello.queueId, rewinding: false, starved: false, welcomeDue: true };
    this.#sessions.set(keyOf(identity), session);
    this.#log.attached(hello.queueId, hello.next);
    this.#welcome(session);
  }

  #problemOf(hello: Hello): string | undefined {
    if (hello.shard !== this.shard) return `this router serves shard ${this.shard}, not ${hello.shard}`;
    if (this.#sessions.size >= MAX_SESSIONS) return `this router has ${MAX_SESSIONS} edges already`;
    return undefined;
  }

  #takeData(identity: Buffer, head: Buffer, batch: Buffer | undefined): void {
    const session = this.#sessions.get(keyOf(identity));
    if (session === undefined) {
      this.#replies.push([identity, encodeRefused('HELLO first')]);
      return;
    }
    const previous = decodeDataHeader(head);
    const position = batch === undefined ? undefined : this.#check(batch, session);
    if (previous === undefined || position === undefined || batch === undefined) {
      this.metrics.rejected.inc({ reason: 'bad_batch' });
      this.#rewind(session);
      return;
    }
    const { queueId } = session;
    const accepted = this.#accepted.get(queueId) ?? START;
    if (comparePositions(position, accepted) <= 0) {
      this.metrics.duplicates.inc();
      if (this.#isSettled(queueId)) this.#acknowledge(session);
    } else if (comparePositions(previous, accepted) !== 0) {
      this.#rewind(session);
    } else if (this.queue.refusal(this.#pendingBytes + batch.length) !== undefined) {
      this.#rewind(session);
    } else {
      session.rewinding = false;
      this.#accept(queueId, position, batch);
    }
  }

  #check(batch: Buffer, session: Session): Position | undefined {
    try {
      return checkBatch(batch).position;
    } catch (error) {
      this.#log.damaged(session.queueId, messageOf(error));
      return undefined;
    }
  }

  #accept(queueId: string, position: Position, batch: Buffer): void {
    this.#accepted.set(queueId, position);
    this.#pending.push({ queueId, position, batch });
    this.#pendingBytes += batch.length;
    if (this.#pendingBytes >= GATHER_BYTES) this.#gathered.fire();
    this.#committing ??= this.#commitAll().catch(this.onFailure);
  }

  /** What came during a commit makes up the next; a little waits for more: no device waits for it, but for the disk. */
  async #commitAll(): Promise<void> {
    while (this.#pending.length > 0) {
      if (this.#pendingBytes < GATHER_BYTES) await this.#gathered.wait(GATHER_MS);
      await this.#commit(this.#takeGroup());
    }
    this.#committing = undefined;
  }

  #takeGroup(): readonly Entry[] {
    let bytes = 0;
    let count = 0;
    while (count < this.#pending.length && bytes < COMMIT_MAX_BYTES) bytes += this.#pending[count++]!.batch.length;
    this.#pendingBytes -= bytes;
    return this.#pending.splice(0, count);
  }

  async #commit(group: readonly Entry[]): Promise<void> {
    const sources = new Map(group.map(({ queueId, position }) => [queueId, position]));
    const positions = [...sources].map(([queueId, position]): NamedPosition => [SOURCE_PREFIX + queueId, position]);
    const batches = group.map(({ batch }) => batch);
    const stopTimer = this.metrics.commitSeconds.startTimer();
    try {
      await this.queue.append(batches, positions);
    } catch (error) {
      if (!(error instanceof HoldfastError && error.retry)) throw error;
      this.#takeBack(error);
      return;
    }
    stopTimer();
    this.metrics.countCommitted(batches);
    for (const [queueId, position] of sources) this.#stored.set(queueId, position);
    for (const session of this.#sessions.values()) {
      if (session.welcomeDue) this.#welcome(session);
      else if (sources.has(session.queueId)) this.#acknowledge(session);
    }
  }

  /** The queue refused: what was accepted and is not on disk goes back to its edges. */
  #takeBack(refusal: HoldfastError): void {
    this.#log.queue(refusal);
    this.#pending = [];
    this.#pendingBytes = 0;
    this.#accepted.clear();
    for (const [queueId, position] of this.#stored) this.#accepted.set(queueId, position);
    for (const session of this.#sessions.values()) {
      // Also where it is rewinding already: its WELCOME waits for a commit that will not come.
      session.rewinding = false;
      this.#rewind(session);
    }
  }

  #rewind(session: Session): void {
    if (session.rewinding) return;
    session.rewinding = true;
    this.metrics.rewinds.inc();
    this.#welcome(session);
  }

  /** Says where to go on, or leaves it to the commit under way to say so. */
  #welcome(session: Session): void {
    session.welcomeDue = !this.#isSettled(session.queueId);
    if (!session.welcomeDue) this.#send(session, LinkType.welcome);
  }

  #acknowledge(session: Session): void {
    this.#send(session, LinkType.ack);
  }

  #send(session: Session, type: typeof LinkType.welcome | typeof LinkType.ack): void {
    const creditBytes = this.#creditBytes();
    session.starved = creditBytes === 0;
    const stored = this.#stored.get(session.queueId) ?? START;
    if (!this.#replies.push([session.identity, encodeStanding(type, { stored, creditBytes })])) {
      // The edge hears nothing, waits for its ack in vain, and says HELLO again.
      this.#forget(session.identity);
    }
  }

  /** Nothing more is accepted for this edge than is on disk. */
  #isSettled(queueId: string): boolean {
    const accepted = this.#accepted.get(queueId) ?? START;
    return comparePositions(accepted, this.#stored.get(queueId) ?? START) === 0;
  }

  #creditBytes(): number {
    return this.queue.refusal(MAX_BATCH_BYTES) === undefined ? creditOf(this.#sessions.size) : 0;
  }

  /** Edges that were told to wait hear of it when there is space again. */
  #feedStarved(): void {
    this.#log.queue(this.queue.refusal(MAX_BATCH_BYTES));
    const starved = [...this.#sessions.values()].filter((session) => session.starved && !session.welcomeDue);
    if (starved.length === 0 || this.#creditBytes() === 0) return;
    for (const session of starved) this.#send(session, session.rewinding ? LinkType.welcome : LinkType.ack);
  }

  #forget(identity: Buffer): void {
    this.#sessions.delete(keyOf(identity));
  }
}

function keyOf(identity: Buffer): string {
  return identity.toString('latin1');
}
