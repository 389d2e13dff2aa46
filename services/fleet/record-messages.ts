/**
 * Runs of records as messages of a protocol: made once, written again and again in one buffer for all connections of a
 * process, so that a flush of a million records allocates nothing a record.
 *
 *   binary   u32 size of what follows | u8 kind 1 | u8[3] 0 | f64 seq | f64 time, ms | payload      one after the other
 *   json     {"seq":17,"time":1732112345678,"data":payload}, or an array of them
 *
 * Room is left before the records for what a protocol puts there: it is written so that it ends where the records start.
 */
import { encodeRecordFrame, FRAME_HEADER_BYTES } from '../../shared/device-frames.js';
import type { RecordRun } from './connection.js';

/** {"seq":9007199254740991,"time":8640000000000000,"data":} and a comma or bracket on both sides. */
const JSON_ENVELOPE_BYTES = 64;

export type RecordFormat = 'json' | 'binary';

export interface MessageLayout {
  /** Room before the records, bytes. */
  readonly headBytes: number;
  /** Several records are not longer than this together; a single one may be. */
  readonly maxRecordBytes: number;
}

export class RecordMessages {
  /** The most records that one message holds. */
  readonly recordsPerMessage: number;
  readonly headBytes: number;
  /** Valid until the next message is written. */
  buffer: Buffer;
  readonly #bufferBytes: number;
  readonly #record: Buffer;

  constructor(
    private readonly format: RecordFormat,
    private readonly payload: Buffer,
    { headBytes, maxRecordBytes }: MessageLayout,
  ) {
    this.headBytes = headBytes;
    this.#record = encodeRecordFrame('telemetry', 0, 0, payload);
    const recordBytes = format === 'binary' ? this.#record.length : payload.length + JSON_ENVELOPE_BYTES;
    this.recordsPerMessage = Math.max(1, Math.floor(maxRecordBytes / recordBytes));
    this.#bufferBytes = headBytes + this.recordsPerMessage * recordBytes;
    this.buffer = Buffer.allocUnsafeSlow(this.#bufferBytes);
  }

  /** Leaves the buffer to who still reads it, and goes on in another. */
  leaveBuffer(): void {
    this.buffer = Buffer.allocUnsafeSlow(this.#bufferBytes);
  }

  /**
   * Writes a run of at most recordsPerMessage records into the buffer, from `headBytes` on.
   * @returns where they end
   */
  write(run: RecordRun): number {
    return this.format === 'binary' ? this.#writeBinary(run) : this.#writeJson(run);
  }

  #writeBinary({ firstSeq, count, firstTimeMs, intervalMs }: RecordRun): number {
    let at = this.headBytes;
    for (let i = 0; i < count; i++) {
      this.buffer.set(this.#record, at);
      this.buffer.writeDoubleLE(firstSeq + i, at + 8);
      this.buffer.writeDoubleLE(firstTimeMs + i * intervalMs, at + FRAME_HEADER_BYTES - 8);
      at += this.#record.length;
    }
    return at;
  }

  #writeJson({ firstSeq, count, firstTimeMs, intervalMs }: RecordRun): number {
    let at = this.headBytes;
    for (let i = 0; i < count; i++) {
      const before = count === 1 ? '' : i === 0 ? '[' : ',';
      at += this.buffer.write(
        `${before}{"seq":${firstSeq + i},"time":${firstTimeMs + i * intervalMs},"data":`,
        at,
        'latin1',
      );
      this.buffer.set(this.payload, at);
      at += this.payload.length;
      this.buffer[at++] = 0x7d;
    }
    if (count > 1) this.buffer[at++] = 0x5d;
    return at;
  }
}

/** The part of a run from its record number `from` on, `count` records long. */
export function partOf(run: RecordRun, from: number, count: number): RecordRun {
  const { firstSeq, firstTimeMs, intervalMs } = run;
  return { firstSeq: firstSeq + from, count, firstTimeMs: firstTimeMs + from * intervalMs, intervalMs };
}
