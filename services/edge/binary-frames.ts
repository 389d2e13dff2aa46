/**
 * The binary protocol: one or more records a frame, little-endian.
 *
 *   0 u32 size of what follows   4 u8 kind   5 u8[3] 0   8 f64 seq   16 f64 time, ms (0: the edge's clock)   24 payload
 *
 * Kind 6 is no record but a question for the device's shadow: seq 0, time 0 and no payload.
 *
 * A size that leaves the frame makes the rest of it unreadable: the frame is malformed. What is wrong inside one record is
 * said of that record, up to MAX_FRAME_ERRORS of them. Payloads of telemetry are opaque here unless `validatePayloads` is
 * on: what is no JSON is then found by storage, which keeps it in dead_letters. Reports and results are few, shadow acts on
 * them, and the device has to hear what is wrong with one: they are always read.
 */
import { isUtf8 } from 'node:buffer';
import { Kind } from '../../shared/batch.js';
import { messageOf } from '../../shared/errors.js';
import { GET_KIND } from '../../shared/device-frames.js';
import { admitPayload } from './payload-rules.js';
import { scanValue } from './json-scan.js';
import {
  admitDepth,
  admitSeq,
  admitSize,
  admitTime,
  MAX_FRAME_ERRORS,
  RecordError,
  type FrameOutcome,
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
 */
export function readBinaryFrame(
  frame: Buffer,
  session: DeviceSession,
  limits: BinaryLimits,
  receivedMs: number,
  take: TakeRecord,
): FrameOutcome {
  const view = new DataView(frame.buffer, frame.byteOffset, frame.length);
  if (frame.length === 0) return { problem: 'the frame is empty', asks: false };
  let at = 0;
  let errors = 0;
  let asks = false;
  while (at < frame.length) {
    const total = sizeAt(view, at);
    if (typeof total === 'string') return { problem: total, asks };
    try {
      if (frame[at + 4] === GET_KIND && view.getFloat64(at + 8, true) === 0) {
        admitQuestion(view, at, total);
        asks = true;
      } else if (!takeRecord(frame, view, at, at + total, session, limits, receivedMs, take)) {
        break;
      }
    } catch (error) {
      if (!(error instanceof RecordError)) throw error;
      session.error(error.code, `the record at byte ${at}: ${error.message}`, error.seq);
      // A device that does not read its errors is closed over them.
      if (!session.isTaking) break;
      if (++errors > MAX_FRAME_ERRORS) {
        return { problem: `more than ${MAX_FRAME_ERRORS} of its records are bad`, asks };
      }
    }
    at += total;
  }
  return { problem: undefined, asks };
}

/** The size of the record at `at`, or what is wrong with it. */
function sizeAt(view: DataView, at: number): number | string {
  const left = view.byteLength - at;
  if (left < FRAME_HEADER_BYTES) return `${left} bytes at byte ${at}: a record has at least ${FRAME_HEADER_BYTES}`;
  const total = view.getUint32(at, true) + SIZE_FIELD_BYTES;
  if (total >= FRAME_HEADER_BYTES && total <= left) return total;
  return `the record at byte ${at} says it has ${total} bytes; allowed are ${FRAME_HEADER_BYTES} to the ${left} left`;
}

/** @throws RecordError bad_record */
function admitQuestion(view: DataView, at: number, total: number): void {
  const isEmpty = total === FRAME_HEADER_BYTES && view.getFloat64(at + 16, true) === 0;
  // With the three bytes after the kind, which must be 0.
  if (isEmpty && view.getUint32(at + 4, true) === GET_KIND) return;
  throw new RecordError('bad_record', 'a question (kind 6) has seq 0, time 0 and no payload');
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
    const message = `kind ${kind}: 1 is telemetry, 2 a report, 3 a result; a question, 6, has no seq`;
    throw new RecordError('bad_record', message, seq);
  }
  if ((view.getUint32(at + 4, true) & 0xffffff00) !== 0) {
    throw new RecordError('bad_record', 'the three bytes after the kind must be 0', seq);
  }
  const timeMs = time === 0 ? receivedMs : admitTime(time, receivedMs, seq);
  const start = at + FRAME_HEADER_BYTES;
  if (start === end) throw new RecordError('bad_record', 'there is no payload', seq);
  admitSize(end - start, limits, seq);
  if (limits.validatePayloads || kind !== Kind.telemetry) readPayload(kind, frame, start, end, limits, seq);
  return take(kind, seq, timeMs, start, end);
}

function isDeviceKind(kind: number): kind is Kind {
  return kind === Kind.telemetry || kind === Kind.report || kind === Kind.result;
}

function readPayload(kind: Kind, frame: Buffer, start: number, end: number, limits: RecordLimits, seq: number): void {
  // toString would replace what is no UTF-8, and JSON.parse would not see it.
  if (!isUtf8(frame.subarray(start, end))) throw new RecordError('bad_json', 'the payload is not UTF-8', seq);
  let value: unknown;
  try {
    value = JSON.parse(frame.toString('utf8', start, end));
  } catch (error) {
    throw new RecordError('bad_json', `the payload is not JSON: ${messageOf(error)}`, seq);
  }
  admitDepth(scanValue(frame, start).depth, limits, seq);
  admitPayload(kind, value, seq);
}
