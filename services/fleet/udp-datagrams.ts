/**
 * The datagrams between a device and an edge (DESIGN, HTTP and UDP) from the device's side, little-endian:
 *
 *   up    "HFU1" | u8 length of the id | id | records as in a binary frame | 16 bytes of HMAC
 *   ack   "HFA1" | u8 length of the id | id | f64 first | f64 last | u32 bitmap | 16 bytes of HMAC
 *   error "HFE1" | u8 length of the id | id | f64 seq | u8 code | 16 bytes of HMAC
 *
 * An ack names the seqs from first to last, and last + 2 + i for each bit i. The HMAC is SHA-256, cut, over all before it, with
 * the token's text as its key; without a token, with the empty key.
 */
import { createHmac, timingSafeEqual } from 'node:crypto';
import { FRAME_HEADER_BYTES } from '../../shared/device-frames.js';

/** What goes through Ethernet and the Internet in one piece: 1,500 bytes less the headers of IPv4 and UDP. */
export const DATAGRAM_BYTES = 1_472;
const UP_MAGIC = 'HFU1';
const ACK_MAGIC = 'HFA1';
const ERROR_MAGIC = 'HFE1';
const ID_AT = 5;
const HMAC_BYTES = 16;
const ACK_BYTES = 20;
const ERROR_BYTES = 9;
/** The longest of a fleet: fleet-<run>-<number>. */
const LONGEST_ID = 'fleet-01234567-4999999';
/** What the records of one datagram may have, for a device of a fleet. */
export const DATAGRAM_RECORD_BYTES = DATAGRAM_BYTES - overheadBytes(LONGEST_ID);
/** The largest payload that fits into a datagram. */
export const MAX_DATAGRAM_PAYLOAD_BYTES = DATAGRAM_RECORD_BYTES - FRAME_HEADER_BYTES;
/** The codes of errors by their number, as the edge has them. */
const CODES = ['bad_json', 'bad_record', 'bad_seq', 'bad_time', 'too_large', 'refused'];

export type EdgeDatagram =
  | { readonly type: 'ack'; readonly first: number; readonly last: number; readonly bitmap: number }
  /** @property seq 0: it did not say which */
  | { readonly type: 'error'; readonly seq: number; readonly code: string };

/** What stands around the records, bytes. */
function overheadBytes(id: string): number {
  return ID_AT + id.length + HMAC_BYTES;
}

/** A datagram in memory of its own. @param key the token; '' for none */
export function makeDatagram(id: string, records: Uint8Array, key: string): Buffer {
  const hmacAt = ID_AT + id.length + records.length;
  const bytes = Buffer.allocUnsafe(hmacAt + HMAC_BYTES);
  bytes.write(UP_MAGIC, 0, 'latin1');
  bytes[4] = id.length;
  bytes.write(id, ID_AT, 'latin1');
  bytes.set(records, ID_AT + id.length);
  bytes.set(hmacOf(bytes.subarray(0, hmacAt), key), hmacAt);
  return bytes;
}

/** Whom a datagram says that it is for; '' where it is none. */
export function addresseeOf(bytes: Buffer): string {
  return bytes.length < ID_AT ? '' : bytes.toString('latin1', ID_AT, Math.min(bytes.length, ID_AT + bytes[4]!));
}

/** Reads what an edge sent to a device; undefined where no edge that knows the key sent it. */
export function readEdgeDatagram(bytes: Buffer, id: string, key: string): EdgeDatagram | undefined {
  const at = ID_AT + id.length;
  const hmacAt = bytes.length - HMAC_BYTES;
  if (hmacAt < at || addresseeOf(bytes) !== id) return undefined;
  if (!timingSafeEqual(hmacOf(bytes.subarray(0, hmacAt), key), bytes.subarray(hmacAt))) return undefined;
  const magic = bytes.toString('latin1', 0, 4);
  if (magic === ACK_MAGIC && hmacAt === at + ACK_BYTES) {
    const [first, last] = [bytes.readDoubleLE(at), bytes.readDoubleLE(at + 8)];
    return { type: 'ack', first, last, bitmap: bytes.readUInt32LE(at + 16) };
  }
  if (magic !== ERROR_MAGIC || hmacAt !== at + ERROR_BYTES) return undefined;
  const code = bytes[at + 8]!;
  return { type: 'error', seq: bytes.readDoubleLE(at), code: CODES[code] ?? `code ${code}` };
}

/** True where an ack names a seq. */
export function isNamed({ first, last, bitmap }: Extract<EdgeDatagram, { type: 'ack' }>, seq: number): boolean {
  if (seq >= first && seq <= last) return true;
  const bit = seq - last - 2;
  return bit >= 0 && bit < 32 && ((bitmap >>> bit) & 1) === 1;
}

function hmacOf(bytes: Uint8Array, key: string): Buffer {
  return createHmac('sha256', key).update(bytes).digest().subarray(0, HMAC_BYTES);
}
