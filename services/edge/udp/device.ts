/**
 * A device that sends datagrams: the session that the ingest sees, what of it waits for a commit, and what is known to be
 * stored. One ack follows each commit that holds records of it, whatever number of datagrams they came in.
 *
 * Where there is no room for a record, nothing is said: the device sends again what is not acked, later and later, and that
 * is all the back pressure that UDP has. The session ends there as any other would, and the next datagram begins another.
 */
import type { Kind } from '../../../shared/batch.js';
import { readBinaryFrame, type BinaryLimits } from '../binary-frames.js';
import type { Ingest } from '../ingest.js';
import { DeviceSession, type RecordErrorCode, type Replies, type Share } from '../session.js';
import { encodeAck, encodeError } from './datagram.js';
import type { Source } from './socket.js';
import { Window } from './window.js';

/** What a device needs of its endpoint. */
export interface Outlet {
  send(type: 'ack' | 'error', bytes: Buffer, to: Source): void;
  /** A record is in error. */
  onError(code: RecordErrorCode): void;
  /** A record came again. */
  onResent(): void;
  /** Nothing of this device waits for a commit any more. */
  onSettled(): void;
}

/** The records of one commit. */
interface Taken {
  readonly share: Share;
  readonly seqs: number[];
  readonly times: number[];
}

/** Where the time stands, seen from a payload (binary-frames.ts). */
const TIME_BEFORE_PAYLOAD_BYTES = 8;

export class UdpDevice implements Replies {
  readonly #window = new Window();
  #session: DeviceSession;
  /** Where its newest datagram came from, and where its answers go. */
  #source: Source = Buffer.alloc(0);
  /** In the order of their commits. */
  #pending: Taken[] = [];
  /** The greatest seq of what waits for a commit: what is greater is new without a look. */
  #pendingThrough = 0;
  #firstError: { readonly code: RecordErrorCode; readonly seq: number } | undefined;

  constructor(
    readonly id: string,
    /** Of its HMACs. */
    readonly key: string,
    private readonly outlet: Outlet,
  ) {
    this.#session = new DeviceSession(id, this);
  }

  /** True while records of it wait for a commit. */
  get isWaiting(): boolean {
    return this.#pending.length > 0;
  }

  /**
   * Takes the records of a genuine datagram.
   * @param records and
   * @param source are valid during the call
   * @returns false where there was no room for one
   */
  receive(records: Buffer, source: Source, limits: BinaryLimits, receivedMs: number, ingest: Ingest): boolean {
    const session = this.#session;
    if (!session.isTaking) return false;
    if (this.#source.length !== source.length) this.#source = Buffer.alloc(source.length);
    this.#source.set(source);
    this.#firstError = undefined;
    // Seqs rise within a datagram; datagrams overtake each other.
    session.lastSeq = 0;
    let taken = 0;
    let resent = 0;
    const room = { isThere: true };
    const take = (kind: Kind, seq: number, timeMs: number, start: number, end: number): boolean => {
      session.lastSeq = seq;
      if (records.readDoubleLE(start - TIME_BEFORE_PAYLOAD_BYTES) === 0) {
        this.error('bad_time', 'a record in a datagram has a time of its own', seq);
        return true;
      }
      if (this.#window.has(seq, timeMs)) {
        this.outlet.onResent();
        // The range may have moved away from it; the ack has to name it all the same.
        this.#window.note(seq, timeMs);
        resent++;
        return true;
      }
      if (this.#isPending(seq, timeMs)) {
        // Its commit will be acked.
        this.outlet.onResent();
        return true;
      }
      room.isThere = ingest.take(session, kind, seq, timeMs, receivedMs, records, start, end);
      if (!room.isThere) return false;
      this.#wait(session.share!, seq, timeMs);
      taken++;
      return true;
    };
    const { problem, asks } = readBinaryFrame(records, session, limits, receivedMs, take);
    if (problem !== undefined) this.error('bad_record', problem, undefined);
    if (asks) this.error('refused', 'a device asks for its shadow over WebSocket', undefined);
    if (taken === 0 && resent > 0 && !this.isWaiting) this.#sendAck();
    // Beside an ack it could be more than came; a record that is sent again by itself gets it.
    else if (taken === 0 && resent === 0 && room.isThere) this.#sendError();
    return room.isThere;
  }

  ack(): void {
    const { seqs, times } = this.#pending.shift()!;
    if (!this.isWaiting) this.#pendingThrough = 0;
    for (const [index, seq] of seqs.entries()) this.#window.note(seq, times[index]!);
    this.#sendAck();
    if (!this.isWaiting) this.outlet.onSettled();
  }

  error(code: RecordErrorCode, _message: string, seq: number | undefined): void {
    this.outlet.onError(code);
    this.#firstError ??= { code, seq: seq ?? 0 };
  }

  /** There was no room: what was taken and is not acked will not be. */
  close(): void {
    this.#session = new DeviceSession(this.id, this);
    if (!this.isWaiting) return;
    this.#pending = [];
    this.#pendingThrough = 0;
    this.outlet.onSettled();
  }

  #wait(share: Share, seq: number, timeMs: number): void {
    let taken = this.#pending.at(-1);
    if (taken?.share !== share) {
      taken = { share, seqs: [], times: [] };
      this.#pending.push(taken);
    }
    taken.seqs.push(seq);
    taken.times.push(timeMs);
    this.#pendingThrough = Math.max(this.#pendingThrough, seq);
  }

  /** True for a record that came before, with the same time, and waits for its commit: a commit can take longer than a device waits. */
  #isPending(seq: number, timeMs: number): boolean {
    if (seq > this.#pendingThrough) return false;
    return this.#pending.some(({ seqs, times }) => times[seqs.lastIndexOf(seq)] === timeMs);
  }

  #sendAck(): void {
    const { known } = this.#window;
    if (known === undefined) return;
    this.outlet.send('ack', encodeAck(this.#session.idBytes, known, this.key), this.#source);
  }

  #sendError(): void {
    if (this.#firstError === undefined) return;
    const { code, seq } = this.#firstError;
    this.outlet.send('error', encodeError(this.#session.idBytes, seq, code, this.key), this.#source);
  }
}
