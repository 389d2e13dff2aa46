/**
 * As much of WebSocket (RFC 6455) as a fleet needs, without an object a message: frame headers out, masked with key 0, and
 * frames in. An edge sends short messages in one frame each; a fragmented or masked one is an error here.
 */
import { HoldfastError } from '../../shared/errors.js';

export const Opcode = { text: 1, binary: 2, close: 8, ping: 9, pong: 10 } as const;

/** The longest header of a client's frame: two bytes, 64 bits of length, the mask key. */
export const MAX_HEADER_BYTES = 14;
/** No message of an edge is longer. */
const MAX_MESSAGE_BYTES = 1024 * 1024;
const FIN = 0x80;
const MASKED = 0x80;

/**
 * Writes the header of a final, masked frame so that it ends at `end`.
 * @returns where it starts
 */
export function writeFrameHeader(buffer: Buffer, end: number, opcode: number, length: number): number {
  const lengthBytes = length < 126 ? 0 : length < 65_536 ? 2 : 8;
  const start = end - 6 - lengthBytes;
  buffer[start] = FIN | opcode;
  if (lengthBytes === 0) {
    buffer[start + 1] = MASKED | length;
  } else if (lengthBytes === 2) {
    buffer[start + 1] = MASKED | 126;
    buffer.writeUInt16BE(length, start + 2);
  } else {
    buffer[start + 1] = MASKED | 127;
    buffer.writeUInt32BE(Math.floor(length / 2 ** 32), start + 2);
    buffer.writeUInt32BE(length >>> 0, start + 6);
  }
  buffer.fill(0, end - 4, end);
  return start;
}

/** A whole frame of a client with a short payload. */
export function makeFrame(opcode: number, payload: Uint8Array): Buffer {
  const buffer = Buffer.alloc(MAX_HEADER_BYTES + payload.length);
  buffer.set(payload, MAX_HEADER_BYTES);
  return buffer.subarray(writeFrameHeader(buffer, MAX_HEADER_BYTES, opcode, payload.length));
}

/** Called with each frame; its bytes are valid during the call. @returns false: read no further */
export type OnFrame = (opcode: number, bytes: Buffer) => boolean;

/**
 * Reads the whole frames of a server in `bytes[start..end)`.
 * @returns where the first frame starts that is not whole, or that `onFrame` did not want
 * @throws HoldfastError bad_frame
 */
export function readFrames(bytes: Buffer, start: number, end: number, onFrame: OnFrame): number {
  let at = start;
  while (end - at >= 2) {
    const short = bytes[at + 1]!;
    const headerBytes = short < 126 ? 2 : short === 126 ? 4 : 10;
    if (short >= 128) throw badFrame('it is masked');
    if (end - at < headerBytes) break;
    const length = short < 126 ? short : short === 126 ? bytes.readUInt16BE(at + 2) : longLength(bytes, at + 2);
    if (length > MAX_MESSAGE_BYTES) throw badFrame(`it has ${length} bytes`);
    if (end - at < headerBytes + length) break;
    const first = bytes[at]!;
    if ((first & 0xf0) !== FIN) throw badFrame(`its first byte is ${first}: fragmented, or with an extension`);
    const payload = at + headerBytes;
    at = payload + length;
    if (!onFrame(first & 0x0f, bytes.subarray(payload, at))) break;
  }
  return at;
}

function longLength(bytes: Buffer, at: number): number {
  return bytes.readUInt32BE(at) * 2 ** 32 + bytes.readUInt32BE(at + 4);
}

function badFrame(what: string): HoldfastError {
  return new HoldfastError('bad_frame', `not a frame that an edge sends: ${what}`, false);
}
