/**
 * The binary protocol: one or more records a frame, little-endian.
 *
 *   0 u32 size of what follows   4 u8 kind   5 u8[3] 0   8 f64 seq   16 f64 time, ms (0: the edge's clock)   24 payload
 *
 * A size that leaves the frame makes the rest of it unreadable: the frame is malformed. What is wrong inside one record is
 * said of that record, up to MAX_FRAME_ERRORS of them. Payloads are opaque here unless `validatePayloads` is on: what is no JSON is then found by storage,
 * which keeps it in dead_letters.
 */
import { isUtf8 } from 'node:buffer';
import { Kind } from '../../shared/batch.js';
import { messageOf } from '../../shared/errors.js';
import { scanValue } from './json-scan.js';
import {
  admitDepth,
  admitSeq,
  admitSize,
  admitTime,
  MAX_FRAME_ERRORS,
  RecordError,
  type RecordLimits,
} from './record-rules.js';
import type { DeviceSession } from './session.js';

export interface BinaryLimits extends RecordLimits {
  readonly validatePayloads: boolean;
}

/** What stands before the payload. */
export const FRAME_HEADER_BYTES = 24;
const SIZE_FIELD_BYTES = 4;

/** Takes one record; false: take no more of this frame. */
export type TakeRecord = (kind: Kind, seq: number, timeMs: number, start: number, end: number) => boolean;

/**
 * Takes a frame apart, giving every good record in order to `take`.
 * @returns what is wrong with the frame itself, or undefined
 */
export function readBinaryFrame(
  frame: Buffer,
  session: DeviceSession,
  limits: BinaryLimits,
  receivedMs: number,
  take: TakeRecord,
): string | undefined {
  const view = new DataView(frame.buffer, frame.byteOffset, frame.length);
  if (frame.length === 0) return 'the frame is empty';
  let at = 0;
  let errors = 0;
  while (at < frame.length) {
    const left = frame.length - at;
    if (left < FRAME_HEADER_BYTES) return `${left} bytes at byte ${at}: a record has at least ${FRAME_HEADER_BYTES}`;
    const total = view.getUint32(at, true) + SIZE_FIELD_BYTES;
    if (total < FRAME_HEADER_BYTES || total > left) {
      return `the record at byte ${at} says it has ${total} bytes; allowed are ${FRAME_HEADER_BYTES} to the ${left} left`;
    }
    try {
      if (!takeRecord(frame, view, at, at + total, session, limits, receivedMs, take)) return undefined;
    } catch (error) {
      if (!(error instanceof RecordError)) throw error;
      session.error(error.code, `the record at byte ${at}: ${error.message}`, error.seq);
      // A device that does not read its errors is closed over them.
      if (!session.isTaking) return undefined;
      if (++errors > MAX_FRAME_ERRORS) return `more than ${MAX_FRAME_ERRORS} of its records are bad`;
    }
    at += total;
  }
  return undefined;
}

function takeRecord(
  frame: Buffer,
  view: DataView,
  at: number,
  end: number,
  session: DeviceSession,
  limits: BinaryLimits,
  receivedMs: number,
  take: TakeRecord,
): boolean {
  const kind = frame[at + 4]!;
  const seq = admitSeq(session, view.getFloat64(at + 8, true));
  const time = view.getFloat64(at + 16, true);
  if (!isDeviceKind(kind)) {
    throw new RecordError('bad_record', `kind ${kind}: 1 is telemetry, 2 a report, 3 a result`, seq);
  }
  if ((view.getUint32(at + 4, true) & 0xffffff00) !== 0) {
    throw new RecordError('bad_record', 'the three bytes after the kind must be 0', seq);
  }
  const timeMs = time === 0 ? receivedMs : admitTime(time, receivedMs, seq);
  const start = at + FRAME_HEADER_BYTES;
  if (start === end) throw new RecordError('bad_record', 'there is no payload', seq);
  admitSize(end - start, limits, seq);
  if (limits.validatePayloads) checkPayload(frame, start, end, limits, seq);
  return take(kind, seq, timeMs, start, end);
}

function isDeviceKind(kind: number): kind is Kind {
  return kind === Kind.telemetry || kind === Kind.report || kind === Kind.result;
}

function checkPayload(frame: Buffer, start: number, end: number, limits: RecordLimits, seq: number): void {
  // toString would replace what is no UTF-8, and JSON.parse would not see it.
  if (!isUtf8(frame.subarray(start, end))) throw new RecordError('bad_json', 'the payload is not UTF-8', seq);
  try {
    JSON.parse(frame.toString('utf8', start, end));
  } catch (error) {
    throw new RecordError('bad_json', `the payload is not JSON: ${messageOf(error)}`, seq);
  }
  admitDepth(scanValue(frame, start).depth, limits, seq);
}
