/**
 * The frames of a load of devices, as WebSocket messages of a client:
 *
 *   binary   header (fin, binary, length, mask key 0) | u32 size | u8 kind | u8[3] 0 | f64 seq | f64 time | payload | …
 *   json     header (fin, text, …)                    | {"seq":1000000001,"data":payload}, or an array of them
 *
 * A mask key of 0 is a legal one, and leaves the payload as it is: the server unmasks as ever, the client saves the work.
 */
import { makePayload, type FrameShape } from './record-block.js';

/** JSON sequence numbers have ten digits from the first on, so that they can be written in place. */
const FIRST_JSON_SEQ = 1_000_000_001;
const JSON_SEQ_DIGITS = 10;
const KIND_TELEMETRY = 1;
const RECORD_HEADER_BYTES = 24;
/** Where a binary record has its seq. */
export const SEQ_IN_RECORD = 8;

/** Frames of the binary protocol. */
export function binaryShape(payloadBytes: number, recordsAFrame: number): FrameShape {
  const record = binaryRecord(makePayload(payloadBytes));
  const header = webSocketHeader(2, record.length * recordsAFrame);
  const first = header.length + SEQ_IN_RECORD;
  return {
    frame: Buffer.concat([header, ...Array.from({ length: recordsAFrame }, () => record)]),
    recordsAFrame,
    writeSeq: (view, at, firstSeq) => {
      for (let i = 0; i < recordsAFrame; i++) view.setFloat64(at + first + i * record.length, firstSeq + i, true);
    },
  };
}

/** Frames of the JSON protocol. */
export function jsonShape(payloadBytes: number, recordsAFrame: number): FrameShape {
  const record = `{"seq":${FIRST_JSON_SEQ},"data":${makePayload(payloadBytes).toString('latin1')}}`;
  const records = Array.from({ length: recordsAFrame }, () => record).join(',');
  const text = Buffer.from(recordsAFrame === 1 ? records : `[${records}]`, 'latin1');
  const frame = Buffer.concat([webSocketHeader(1, text.length), text]);
  const first = frame.indexOf(String(FIRST_JSON_SEQ), 0, 'latin1');
  const step = record.length + 1;
  return {
    frame,
    recordsAFrame,
    writeSeq: (view, at, firstSeq) => {
      for (let i = 0; i < recordsAFrame; i++) {
        writeDecimal(view, at + first + i * step, firstSeq + i + FIRST_JSON_SEQ - 1);
      }
    },
  };
}

/** The seq, counted from 1 by connection, of an acked JSON record. */
export function countOfJsonSeq(seq: number): number {
  return seq - FIRST_JSON_SEQ + 1;
}

/** A client's WebSocket header with fin set and the mask key 0. */
export function webSocketHeader(opcode: number, length: number): Buffer {
  const first = 0x80 | opcode;
  if (length < 126) return Buffer.from([first, 0x80 | length, 0, 0, 0, 0]);
  if (length <= 0xffff) return Buffer.from([first, 0x80 | 126, length >> 8, length & 0xff, 0, 0, 0, 0]);
  const header = Buffer.alloc(14);
  header[0] = first;
  header[1] = 0x80 | 127;
  header.writeBigUInt64BE(BigInt(length), 2);
  return header;
}

/** A record of telemetry with the seq 0. */
export function binaryRecord(payload: Buffer): Buffer {
  const header = Buffer.alloc(RECORD_HEADER_BYTES);
  header.writeUInt32LE(RECORD_HEADER_BYTES - 4 + payload.length, 0);
  header.writeUInt8(KIND_TELEMETRY, 4);
  return Buffer.concat([header, payload]);
}

function writeDecimal(view: DataView, at: number, value: number): void {
  let rest = value;
  for (let i = JSON_SEQ_DIGITS - 1; i >= 0; i--) {
    const next = Math.floor(rest / 10);
    view.setUint8(at + i, 48 + rest - next * 10);
    rest = next;
  }
}
