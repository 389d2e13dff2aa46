/**
 * The ingest: every protocol's records enter here, are committed in groups, and are acked after the commit.
 *
 * Records are written straight into a batch buffer. While one commit is under way the records that arrive form the next
 * group, so a commit's cost is shared by however many came. A group may be several batches; they are one transaction.
 * Nothing is acked before its transaction is on disk; what the queue refuses is never acked and its sessions end for want
 * of room, so that the devices come back later with the same records.
 */
import { BatchBuilder, Kind, RECORD_HEADER_BYTES } from '../../shared/batch.js';
import { HoldfastError } from '../../shared/errors.js';
import type { Part } from '../../shared/lifecycle.js';
import type { Logger } from '../../shared/log.js';
import { StateLog } from '../../shared/state-log.js';
import type { Queue } from '../../shared/queue/queue.js';
import type { EdgeMetrics } from './metrics.js';
import { FRAME_HEADER_BYTES } from './binary-frames.js';
import { MAX_TIME_MS } from './record-rules.js';
import type { DeviceSession, Ending, Room, Share } from './session.js';

export interface IngestOptions {
  readonly payloadBytes: number;
  readonly windowBytes: number;
  readonly memoryBytes: number;
  readonly retryAfterMs: number;
}

/** How long a refusal of the queue stands before it is asked again. */
const REFUSAL_CHECK_MS = 100;
/** Buffers kept for the next group; a burst's others go back to the heap. */
const SPARE_BUILDERS = 32;

interface Group {
  readonly id: number;
  readonly full: BatchBuilder[];
  readonly shares: Share[];
  bytes: number;
  records: number;
  firstMs: number;
}

export class Ingest implements Part {
  readonly name = 'ingest';
  readonly #spare: BatchBuilder[] = [];
  #builder = new BatchBuilder();
  #group = newGroup(1);
  #takenBytes = 0;
  #commit: Promise<void> | undefined;
  readonly #state: StateLog;
  #refusedUntilMs = 0;

  constructor(
    private readonly queue: Queue,
    private readonly options: IngestOptions,
    private readonly metrics: EdgeMetrics,
    log: Logger,
    private readonly onFailure: (error: unknown) => void,
  ) {
    this.#state = new StateLog(log, 'taking');
  }

  /** Bytes taken from all devices and not yet acked. */
  get takenBytes(): number {
    return this.#takenBytes;
  }

  /**
   * Takes one record, whose payload is `source[start..end)`, from a device; it is acked once it is on disk.
   * @returns false where there is no room: the session ends, and nothing more must be taken from it
   */
  take(
    session: DeviceSession,
    kind: Kind,
    seq: number,
    timeMs: number,
    receivedMs: number,
    source: Uint8Array,
    start: number,
    end: number,
  ): boolean {
    const bytes = RECORD_HEADER_BYTES + session.idBytes.length + end - start;
    const full = this.#isFull(session, bytes, receivedMs);
    if (full !== undefined) return this.sendAway(session, full);
    this.#write(kind, session.idBytes, seq, timeMs, receivedMs, source, start, end);
    this.#share(session, seq, bytes);
    return true;
  }

  /** Takes nothing more from a device, and ends its session for want of room once what was taken is acked. */
  sendAway(session: DeviceSession, room: Room): false {
    this.metrics.rejected.inc({ reason: room });
    session.closeWhenAcked(this.#noRoom(room));
    return false;
  }

  /**
   * Takes a binary frame that holds one good record of telemetry, whose payload nobody looks at: the hot path. It is copied once, to where it is committed from, and
   * read there.
   * @returns false, with nothing taken, where the frame is anything else: then it is for readBinaryFrame and take
   */
  takeFrame(session: DeviceSession, frame: Uint8Array, receivedMs: number): boolean {
    const payloadBytes = frame.length - FRAME_HEADER_BYTES;
    const { payloadBytes: maxPayloadBytes } = this.options;
    if (payloadBytes <= 0 || payloadBytes > maxPayloadBytes) return false;
    const { idBytes } = session;
    const bytes = RECORD_HEADER_BYTES + idBytes.length + payloadBytes;
    if (this.#isFull(session, bytes, receivedMs) !== undefined) return false;
    const builder = this.#builder;
    const at = builder.stage(frame, FRAME_HEADER_BYTES, idBytes.length);
    if (at < 0) return false;
    const { view } = builder;
    const seq = view.getFloat64(at + 8, true);
    const timeMs = view.getFloat64(at + 16, true);
    // The kind, and with it the three bytes after it, which must be 0.
    const kind = view.getUint32(at + 4, true);
    const isGood =
      view.getUint32(at, true) === frame.length - 4 &&
      kind === Kind.telemetry &&
      seq > session.lastSeq &&
      Number.isSafeInteger(seq) &&
      session.counted === undefined &&
      timeMs >= 0 &&
      timeMs <= MAX_TIME_MS;
    if (!isGood) return false;
    builder.addStaged(kind, idBytes, seq, timeMs === 0 ? receivedMs : timeMs, receivedMs, payloadBytes);
    this.#written(receivedMs);
    this.#share(session, seq, bytes);
    return true;
  }

  #isFull(session: DeviceSession, bytes: number, receivedMs: number): Room | undefined {
    const { windowBytes, memoryBytes } = this.options;
    if (session.unackedBytes + bytes > windowBytes) return 'window';
    if (this.#takenBytes + bytes > memoryBytes) return 'memory';
    return this.#isRefusing(receivedMs) ? 'queue' : undefined;
  }

  /** A refusal ends with its time, and with a clock that was set back: it would stand until that time comes again. */
  #isRefusing(nowMs: number): boolean {
    const leftMs = this.#refusedUntilMs - nowMs;
    return leftMs > 0 && leftMs <= REFUSAL_CHECK_MS;
  }

  /** Counts a record to its session's share of the group. */
  #share(session: DeviceSession, seq: number, bytes: number): void {
    session.unackedBytes += bytes;
    session.lastSeq = seq;
    this.#takenBytes += bytes;
    this.#group.bytes += bytes;
    const { share } = session;
    if (share !== undefined && session.shareGroup === this.#group.id) {
      share.seq = seq;
      share.bytes += bytes;
    } else {
      session.share = { session, seq, bytes };
      session.shareGroup = this.#group.id;
      this.#group.shares.push(session.share);
    }
  }

  /** Notes that a device came or went: a record of the edge's own, that nobody is acked for. */
  note(kind: Kind, session: DeviceSession, payload: Uint8Array): void {
    const nowMs = Date.now();
    if (this.#isRefusing(nowMs)) {
      this.metrics.rejected.inc({ reason: 'presence' });
      return;
    }
    this.#write(kind, session.idBytes, 0, nowMs, nowMs, payload, 0, payload.length);
  }

  /** Commits what was taken, and acks it. */
  async stop(): Promise<void> {
    while (this.#commit !== undefined) await this.#commit;
  }

  #write(
    kind: Kind,
    id: Uint8Array,
    seq: number,
    timeMs: number,
    receivedMs: number,
    source: Uint8Array,
    start: number,
    end: number,
  ): void {
    if (!this.#builder.add(kind, id, seq, timeMs, receivedMs, source, start, end)) {
      this.#group.full.push(this.#builder);
      this.#builder = this.#spare.pop() ?? new BatchBuilder();
      this.#builder.add(kind, id, seq, timeMs, receivedMs, source, start, end);
    }
    this.#written(receivedMs);
  }

  #written(receivedMs: number): void {
    if (this.#group.records++ === 0) this.#group.firstMs = receivedMs;
    this.#commit ??= this.#commitAll().catch(this.onFailure);
  }

  /** Commits group after group, until none has formed while the last one was under way. */
  async #commitAll(): Promise<void> {
    // The first group is what this turn of the event loop brings.
    await new Promise(setImmediate);
    while (this.#group.records > 0) await this.#commitGroup(this.#takeGroup());
    this.#commit = undefined;
  }

  #takeGroup(): Group {
    const group = this.#group;
    group.full.push(this.#builder);
    this.#builder = this.#spare.pop() ?? new BatchBuilder();
    this.#group = newGroup(group.id + 1);
    return group;
  }

  async #commitGroup(group: Group): Promise<void> {
    const stopTimer = this.metrics.commitSeconds.startTimer();
    try {
      await this.queue.append(group.full.map((builder) => builder.build()));
    } catch (error) {
      if (!(error instanceof HoldfastError && error.retry)) throw error;
      this.#refuse(group, error);
      return;
    } finally {
      this.#recycle(group);
      this.#takenBytes -= group.bytes;
    }
    stopTimer();
    this.#state.enter('taking', 'info', {}, 'the queue takes records again');
    this.metrics.recordsIn.inc(group.records);
    this.metrics.bytesIn.inc(group.bytes);
    for (const { session, seq, bytes } of group.shares) session.settle(seq, bytes);
    this.metrics.ackSeconds.observe(Math.max(0, Date.now() - group.firstMs) / 1000);
  }

  /**
   * The queue is at its quota or the disk at its floor: nothing of the group is acked, its devices come back later. They
   * are closed at once, because an ack of a later group would say that this one is stored too.
   */
  #refuse(group: Group, refusal: HoldfastError): void {
    const { code, message: reason } = refusal;
    this.#state.enter('refusing', 'warn', { code, reason }, 'the queue takes no records; devices are closed with 1013');
    this.#refusedUntilMs = Date.now() + REFUSAL_CHECK_MS;
    for (const { session, bytes } of group.shares) {
      session.unackedBytes -= bytes;
      this.metrics.rejected.inc({ reason: 'queue' });
      session.close(this.#noRoom('queue'));
    }
  }

  /**
   * Takes nothing more from a device, and closes it once what was taken is acked: a frame that fills the window by itself
   * would otherwise be sent again, whole, for ever.
   */
  #noRoom(room: Room): Ending {
    return { why: 'no_room', room, retryAfterMs: Math.round(this.options.retryAfterMs * (0.5 + Math.random())) };
  }

  #recycle(group: Group): void {
    for (const builder of group.full) {
      builder.reset();
      if (this.#spare.length < SPARE_BUILDERS) this.#spare.push(builder);
    }
  }
}

function newGroup(id: number): Group {
  return { id, full: [], shares: [], bytes: 0, records: 0, firstMs: 0 };
}
