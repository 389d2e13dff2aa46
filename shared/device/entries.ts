/**
 * Entries of the file buffer's log: `u32 crc32 of the frame | frame`, the frame as it goes over the wire. A frame of kind
 * DROPPED has no payload and says that the record with its seq was refused.
 *
 * A damaged entry is stepped over by looking, byte by byte, for the next place where an entry is whole: a flipped bit costs
 * the record it is in, wherever it is, also in a size field. What is found there is an entry and no payload that looks like
 * one, because frames have three zero bytes that JSON cannot have.
 */
import { crc32 } from 'node:zlib';
import { Kind } from '../batch.js';
import { FRAME_HEADER_BYTES, MAX_FRAME_BYTES, MIN_FRAME_SIZE } from '../device-frames.js';

export const CHECKSUM_BYTES = 4;
export const MAX_ENTRY_BYTES = CHECKSUM_BYTES + MAX_FRAME_BYTES;
/** The kind of an entry that takes a record back. */
export const DROPPED = 255;

/** The entry that holds a frame. */
export function encodeEntry(frame: Buffer): Buffer {
  const entry = Buffer.allocUnsafe(CHECKSUM_BYTES + frame.length);
  entry.writeUInt32LE(crc32(frame), 0);
  frame.copy(entry, CHECKSUM_BYTES);
  return entry;
}

/** The entry that takes the record with this seq back. */
export function encodeDropped(seq: number): Buffer {
  const frame = Buffer.alloc(FRAME_HEADER_BYTES);
  frame.writeUInt32LE(MIN_FRAME_SIZE, 0);
  frame.writeUInt32LE(DROPPED, 4);
  frame.writeDoubleLE(seq, 8);
  return encodeEntry(frame);
}

/** The frame of the entry at `at`, sharing the memory; undefined where none is there, whole and undamaged. */
export function entryAt(bytes: Buffer, at: number): Buffer | undefined {
  const start = at + CHECKSUM_BYTES;
  if (start + FRAME_HEADER_BYTES > bytes.length) return undefined;
  const kind = bytes.readUInt32LE(start + 4);
  if (kind !== Kind.telemetry && kind !== Kind.report && kind !== Kind.result && kind !== DROPPED) return undefined;
  const size = bytes.readUInt32LE(start);
  const end = start + 4 + size;
  if (size < MIN_FRAME_SIZE || size + 4 > MAX_FRAME_BYTES || end > bytes.length) return undefined;
  const frame = bytes.subarray(start, end);
  return crc32(frame) === bytes.readUInt32LE(at) ? frame : undefined;
}

/** What a walk over a log's bytes found. */
export interface Walk {
  /** Where the last whole entry ends. */
  readonly end: number;
  /** Bytes between whole entries that are none. */
  readonly damagedBytes: number;
}

/**
 * Calls `visit` with the frame and the end of each whole entry, in order, until it returns false.
 * @param repair true: damaged places are stepped over; false: the walk ends at the first
 */
export function walkEntries(bytes: Buffer, repair: boolean, visit: (frame: Buffer, end: number) => boolean): Walk {
  let end = 0;
  let damagedBytes = 0;
  let at = 0;
  while (at < bytes.length) {
    const frame = entryAt(bytes, at);
    if (frame === undefined) {
      if (!repair) break;
      at++;
      continue;
    }
    const next = at + CHECKSUM_BYTES + frame.length;
    if (!visit(frame, next)) break;
    damagedBytes += at - end;
    end = next;
    at = next;
  }
  return { end, damagedBytes };
}
