/**
 * The key of a batch in LMDB: 32 bytes, big-endian, so that bytewise order is the order of positions.
 *
 *   0 f64 epoch   8 f64 offset   16 u32 records   20 u32 bytes   24 f64 time of commit, ms
 *
 * What a gauge or a release needs to know of a batch stands in its key, so that neither reads a value.
 */
import type { Position } from '../position.js';

export interface BatchKey {
  readonly position: Position;
  readonly records: number;
  readonly bytes: number;
  readonly committedMs: number;
}

/** A key as it was read, with its own bytes. */
export interface StoredKey extends BatchKey {
  readonly key: Buffer;
}

const KEY_BYTES = 32;
const POSITION_PART_BYTES = 16;

export function encodeKey(key: BatchKey): Buffer {
  const buffer = Buffer.allocUnsafe(KEY_BYTES);
  buffer.writeDoubleBE(key.position.epoch, 0);
  buffer.writeDoubleBE(key.position.offset, 8);
  buffer.writeUInt32BE(key.records, 16);
  buffer.writeUInt32BE(key.bytes, 20);
  buffer.writeDoubleBE(key.committedMs, 24);
  return buffer;
}

export function decodeKey(buffer: Buffer): BatchKey {
  return {
    position: { epoch: buffer.readDoubleBE(0), offset: buffer.readDoubleBE(8) },
    records: buffer.readUInt32BE(16),
    bytes: buffer.readUInt32BE(20),
    committedMs: buffer.readDoubleBE(24),
  };
}

/** A bound that lies right behind the batch at `position`: an exclusive start, or the end that still includes it. */
export function keyBehind(position: Position): Buffer {
  const buffer = Buffer.alloc(KEY_BYTES, 0xff);
  buffer.writeDoubleBE(position.epoch, 0);
  buffer.writeDoubleBE(position.offset, POSITION_PART_BYTES - 8);
  return buffer;
}
