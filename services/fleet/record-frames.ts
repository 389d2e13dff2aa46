/**
 * Runs of records as WebSocket frames: made once, written again and again in one buffer for all connections of a process,
 * so that a flush of a million records allocates nothing a record.
 *
 *   binary   u32 size of what follows | u8 kind 1 | u8[3] 0 | f64 seq | f64 time, ms | payload      one after the other
 *   json     {"seq":17,"time":1732112345678,"data":payload}, or an array of them
 *
 * A frame holds as many records as fit into 64 KiB, which every edge takes. The mask key is 0: RFC 6455 wants a mask from
 * clients and this is one, it costs nothing here and the edge unmasks as ever. (A real device's key must be random, against
 * caches between; simulated ones measure.)
 */
import { encodeRecordFrame, FRAME_HEADER_BYTES } from '../../shared/device-frames.js';
import type { RecordRun } from './connection.js';
import { MAX_HEADER_BYTES, Opcode, writeFrameHeader } from './websocket-frames.js';

/** A frame of several records is not longer than this; a single record may be. */
export const FRAME_BYTES = 64 * 1024;
/** {"seq":9007199254740991,"time":8640000000000000,"data":} and a comma or bracket on both sides. */
const JSON_ENVELOPE_BYTES = 64;

/** Takes the bytes of a frame. @returns false where they are still to be read after it returned */
export type WriteFrame = (bytes: Buffer) => boolean;

export class RecordFrames {
  /** The most records that one frame holds. */
  readonly recordsPerFrame: number;
  readonly #bufferBytes: number;
  readonly #payload: Buffer;
  readonly #record: Buffer;
  #buffer: Buffer;

  constructor(
    private readonly protocol: 'json' | 'binary',
    payload: Buffer,
  ) {
    this.#payload = payload;
    this.#record = encodeRecordFrame('telemetry', 0, 0, payload);
    const recordBytes = protocol === 'binary' ? this.#record.length : payload.length + JSON_ENVELOPE_BYTES;
    this.recordsPerFrame = Math.max(1, Math.floor(FRAME_BYTES / recordBytes));
    this.#bufferBytes = MAX_HEADER_BYTES + this.recordsPerFrame * recordBytes;
    this.#buffer = Buffer.allocUnsafeSlow(this.#bufferBytes);
  }

  /** Gives the frames of a run to `write`, in order. */
  write({ firstSeq, count, firstTimeMs, intervalMs }: RecordRun, write: WriteFrame): void {
    for (let done = 0; done < count;) {
      const now = Math.min(this.recordsPerFrame, count - done);
      const frame = this.#frame(firstSeq + done, now, firstTimeMs + done * intervalMs, intervalMs);
      done += now;
      if (!write(frame)) this.#buffer = Buffer.allocUnsafeSlow(this.#bufferBytes);
    }
  }

  #frame(firstSeq: number, count: number, firstTimeMs: number, intervalMs: number): Buffer {
    const isBinary = this.protocol === 'binary';
    const end = isBinary
      ? this.#writeBinary(firstSeq, count, firstTimeMs, intervalMs)
      : this.#writeJson(firstSeq, count, firstTimeMs, intervalMs);
    const opcode = isBinary ? Opcode.binary : Opcode.text;
    const start = writeFrameHeader(this.#buffer, MAX_HEADER_BYTES, opcode, end - MAX_HEADER_BYTES);
    return this.#buffer.subarray(start, end);
  }

  #writeBinary(firstSeq: number, count: number, firstTimeMs: number, intervalMs: number): number {
    let at = MAX_HEADER_BYTES;
    for (let i = 0; i < count; i++) {
      this.#buffer.set(this.#record, at);
      this.#buffer.writeDoubleLE(firstSeq + i, at + 8);
      this.#buffer.writeDoubleLE(firstTimeMs + i * intervalMs, at + FRAME_HEADER_BYTES - 8);
      at += this.#record.length;
    }
    return at;
  }

  #writeJson(firstSeq: number, count: number, firstTimeMs: number, intervalMs: number): number {
    let at = MAX_HEADER_BYTES;
    for (let i = 0; i < count; i++) {
      const before = count === 1 ? '' : i === 0 ? '[' : ',';
      at += this.#buffer.write(
        `${before}{"seq":${firstSeq + i},"time":${firstTimeMs + i * intervalMs},"data":`,
        at,
        'latin1',
      );
      this.#buffer.set(this.#payload, at);
      at += this.#payload.length;
      this.#buffer[at++] = 0x7d;
    }
    if (count > 1) this.#buffer[at++] = 0x5d;
    return at;
  }
}
