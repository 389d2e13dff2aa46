/**
 * Where a device keeps its records until they are acked. The memory buffer is here; file-buffer.ts has the one that
 * outlives the process.
 */
import { encodeRecordFrame, type DeviceKind } from '../device-frames.js';
import { HoldfastError } from '../errors.js';
import { Ledger } from './ledger.js';

export interface RecordBuffer {
  /** Every record through this seq is acked or was refused. */
  readonly acked: number;
  /** The last seq that was given; 0: none. */
  readonly lastSeq: number;
  /** How many records are neither acked nor refused. */
  readonly unacked: number;
  /** Bytes that were found damaged; the records in them are gone. */
  readonly damagedBytes: number;
  /**
   * Keeps a record and gives it the next seq.
   * @throws HoldfastError buffer_full where it does not fit until others are acked; disk_low
   */
  append(kind: DeviceKind, timeMs: number, payload: Uint8Array): number;
  /** Every record through `seq` that was not refused is acked. */
  ack(seq: number): void;
  /**
   * One record will never be acked.
   * @returns false where it is done already or was never given
   */
  drop(seq: number): boolean;
  /**
   * The frames of open records after seq `after`, in order: as many as fit `maxBytes`, each counted with `overheadBytes`
   * on top, but at least one where there is one.
   */
  read(after: number, maxBytes: number, overheadBytes: number): readonly Buffer[];
  close(): void;
}

export interface MemoryLimits {
  readonly maxRecords: number;
  /** Bytes of frames: 24 a record and its payload. */
  readonly maxBytes: number;
}

/** Fewer empty places than this at the front are not worth moving the rest for. */
const COMPACT_AT = 1024;

export class MemoryBuffer implements RecordBuffer {
  readonly damagedBytes = 0;
  readonly #ledger = new Ledger();
  /** The record with seq s is at s - #base; undefined once it was refused. */
  #frames: (Buffer | undefined)[] = [];
  #base = 1;
  #bytes = 0;

  constructor(private readonly limits: MemoryLimits) {}

  get acked(): number {
    return this.#ledger.done;
  }

  get lastSeq(): number {
    return this.#ledger.last;
  }

  get unacked(): number {
    return this.#ledger.open;
  }

  append(kind: DeviceKind, timeMs: number, payload: Uint8Array): number {
    const seq = this.#ledger.last + 1;
    const { maxRecords, maxBytes } = this.limits;
    const frame = encodeRecordFrame(kind, seq, timeMs, payload);
    if (seq - this.#ledger.done > maxRecords || this.#bytes + frame.length > maxBytes) {
      throw bufferFull(`${this.unacked} records of ${this.#bytes} bytes, of at most ${maxRecords} and ${maxBytes}`);
    }
    this.#frames.push(frame);
    this.#bytes += frame.length;
    this.#ledger.give(seq);
    return seq;
  }

  ack(seq: number): void {
    const before = this.#ledger.done;
    this.#ledger.settleThrough(seq);
    this.#free(before);
  }

  drop(seq: number): boolean {
    const before = this.#ledger.done;
    if (!this.#ledger.settle(seq)) return false;
    this.#clear(seq);
    this.#free(before);
    return true;
  }

  read(after: number, maxBytes: number, overheadBytes: number): readonly Buffer[] {
    const frames: Buffer[] = [];
    let bytes = 0;
    for (let seq = Math.max(after, this.#ledger.done) + 1; seq <= this.#ledger.last; seq++) {
      const frame = this.#frames[seq - this.#base];
      if (frame === undefined) continue;
      bytes += frame.length + overheadBytes;
      if (bytes > maxBytes && frames.length > 0) break;
      frames.push(frame);
    }
    return frames;
  }

  close(): void {
    this.#frames = [];
  }

  #free(before: number): void {
    for (let seq = before + 1; seq <= this.#ledger.done; seq++) this.#clear(seq);
    const empty = this.#ledger.done + 1 - this.#base;
    if (empty < COMPACT_AT || empty * 2 < this.#frames.length) return;
    this.#frames = this.#frames.slice(empty);
    this.#base += empty;
  }

  #clear(seq: number): void {
    const index = seq - this.#base;
    this.#bytes -= this.#frames[index]?.length ?? 0;
    this.#frames[index] = undefined;
  }
}

/** The error of a buffer that takes no more until records are acked. */
export function bufferFull(what: string): HoldfastError {
  return new HoldfastError('buffer_full', `the device's buffer is full: ${what}; wait for acks`, true);
}
