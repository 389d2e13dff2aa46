/**
 * The datagrams, little-endian. A device sends
 *
 *   0 u32 magic "HFU1"   4 u8 length of the id   5 id, ASCII   .. records, as in a binary frame   .. 16 bytes of HMAC
 *
 * and the edge answers with one of
 *
 *   0 u32 magic "HFA1"   4 u8 length of the id   5 id   .. f64 first   f64 last   u32 bitmap   .. 16 bytes of HMAC
 *   0 u32 magic "HFE1"   4 u8 length of the id   5 id   .. f64 seq   u8 code                   .. 16 bytes of HMAC
 *
 * An ack says: every record from seq `first` to seq `last` is on disk, and so is `last + 2 + i` for each bit i of the bitmap
 * (`last + 1` is not known to be: it would be the last). Both ends stand in it, because the edge knows only what it has
 * seen since it started: an ack that said "all up to last" would be wrong of records that another edge had missed. An error
 * says that the record with this seq will never be stored (ERROR_CODES); seq 0: no record of the datagram can be read.
 *
 * The HMAC is SHA-256 cut to its first 16 bytes, over all before it, with the device's token (its 43 ASCII characters) as
 * the key; where the edge has no secret, with the empty key, which makes it a checksum.
 *
 * An ack has 41 bytes and the id, the shortest datagram with a record 46 and the id: what is sent is less than what came.
 */
import { createHmac, timingSafeEqual } from 'node:crypto';
import { MAX_DEVICE_ID_BYTES } from '../../../shared/batch.js';
import { DEVICE_ID } from '../admission.js';
import { FRAME_HEADER_BYTES } from '../binary-frames.js';
import type { RecordErrorCode } from '../session.js';

/** What goes through every network in one piece. */
export const MAX_DATAGRAM_BYTES = 1_500;

const DATAGRAM_MAGIC = 0x31554648; // "HFU1"
const ACK_MAGIC = 0x31414648; // "HFA1"
const ERROR_MAGIC = 0x31454648; // "HFE1"
const ID_AT = 5;
const HMAC_BYTES = 16;
const ACK_BODY_BYTES = 20;
const ERROR_BODY_BYTES = 9;
const MIN_RECORD_BYTES = FRAME_HEADER_BYTES + 1;

/** The longest that is sent: an ack to a device whose id is as long as it may be. */
export const MAX_ANSWER_BYTES = ID_AT + MAX_DEVICE_ID_BYTES + ACK_BODY_BYTES + HMAC_BYTES;

/** The codes of errors by their number in a datagram. */
export const ERROR_CODES: readonly RecordErrorCode[] = [
  'bad_json',
  'bad_record',
  'bad_seq',
  'bad_time',
  'too_large',
  'refused',
];

/** Why a datagram is not looked into; a label of metrics. */
export type DatagramRefusal = 'too_long' | 'malformed' | 'hmac';

/** A datagram's parts, before anybody knows whether it is genuine. */
export interface Datagram {
  readonly deviceId: string;
  /** Where its HMAC starts; the records are before it. */
  readonly hmacAt: number;
  readonly recordsAt: number;
}

/** The parts of a datagram by its sizes. */
export function readDatagram(bytes: Buffer): Datagram | DatagramRefusal {
  if (bytes.length > MAX_DATAGRAM_BYTES) return 'too_long';
  if (bytes.length < ID_AT || bytes.readUInt32LE(0) !== DATAGRAM_MAGIC) return 'malformed';
  const recordsAt = ID_AT + bytes[4]!;
  const hmacAt = bytes.length - HMAC_BYTES;
  if (hmacAt - recordsAt < MIN_RECORD_BYTES) return 'malformed';
  const deviceId = bytes.toString('latin1', ID_AT, recordsAt);
  return DEVICE_ID.test(deviceId) ? { deviceId, hmacAt, recordsAt } : 'malformed';
}

/** Whether the datagram is from who has the key, in a time that does not depend on how much of the HMAC is right. */
export function isGenuine(bytes: Buffer, hmacAt: number, key: string): boolean {
  return timingSafeEqual(hmacOf(bytes.subarray(0, hmacAt), key), bytes.subarray(hmacAt));
}

/** What the edge knows to be stored of a device. */
export interface Known {
  readonly first: number;
  readonly last: number;
  /** Bit i: `last + 2 + i`. */
  readonly bitmap: number;
}

export function encodeAck(idBytes: Buffer, { first, last, bitmap }: Known, key: string): Buffer {
  const bytes = begin(ACK_MAGIC, idBytes, ACK_BODY_BYTES);
  const at = ID_AT + idBytes.length;
  bytes.writeDoubleLE(first, at);
  bytes.writeDoubleLE(last, at + 8);
  bytes.writeUInt32LE(bitmap, at + 16);
  return sealed(bytes, key);
}

/** @param seq 0 where it could not be read */
export function encodeError(idBytes: Buffer, seq: number, code: RecordErrorCode, key: string): Buffer {
  const bytes = begin(ERROR_MAGIC, idBytes, ERROR_BODY_BYTES);
  const at = ID_AT + idBytes.length;
  bytes.writeDoubleLE(seq, at);
  bytes[at + 8] = ERROR_CODES.indexOf(code);
  return sealed(bytes, key);
}

function begin(magic: number, idBytes: Buffer, bodyBytes: number): Buffer {
  const bytes = Buffer.alloc(ID_AT + idBytes.length + bodyBytes + HMAC_BYTES);
  bytes.writeUInt32LE(magic, 0);
  bytes[4] = idBytes.length;
  idBytes.copy(bytes, ID_AT);
  return bytes;
}

function sealed(bytes: Buffer, key: string): Buffer {
  const hmacAt = bytes.length - HMAC_BYTES;
  hmacOf(bytes.subarray(0, hmacAt), key).copy(bytes, hmacAt);
  return bytes;
}

function hmacOf(bytes: Buffer, key: string): Buffer {
  return createHmac('sha256', key).update(bytes).digest().subarray(0, HMAC_BYTES);
}
