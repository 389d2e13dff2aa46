/**
 * How the elements of a body become records: as the JSON protocol has them, or in the forms that ThingsBoard's devices send.
 *
 *   {"seq": 17, "time": 1732112345678, "data": {…}}    also "report" and "result"; see json-frames.ts
 *   {"temperature": 80.5}  {"ts": 1732112345678, "values": {…}}    ThingsBoard's telemetry, and its attributes: a report
 *
 * A request is a session of its own: its seqs rise, and it gives one for every record or for none. Where it gives none the
 * edge assigns them, so that such a record is stored as often as it is sent.
 */
import { Kind } from '../../../shared/batch.js';
import type { AssignedSeqs } from '../assigned-seq.js';
import { readElement, type FrameRecord } from '../json-frames.js';
import { scanMember, scanValue, type Span } from '../json-scan.js';
import { admitPayload } from '../payload-rules.js';
import { admitDepth, admitSize, admitTime, RecordError, type RecordLimits } from '../record-rules.js';
import type { DeviceSession } from '../session.js';
import type { Element } from './body-elements.js';

/** What a request's records are read with. */
export interface Reading {
  readonly session: DeviceSession;
  readonly limits: RecordLimits;
  readonly receivedMs: number;
  readonly assigned: AssignedSeqs;
  /** Who gives the seqs; undefined before the first record. */
  seqs: 'given' | 'assigned' | undefined;
}

/** Reads one element. @throws RecordError */
export type ReadRecord = (element: Element, reading: Reading) => FrameRecord;

type Fields = Record<string, unknown>;

/** @throws RecordError */
export function readNative({ text, at, value }: Element, reading: Reading): FrameRecord {
  const { session, limits, receivedMs } = reading;
  const fields = isObject(value) ? withSeq(value, reading) : value;
  try {
    const record = readElement(text, fields, at, session, limits, receivedMs);
    if (record !== undefined) return record;
  } catch (error) {
    // A seq that the edge assigned means nothing to the device.
    if (error instanceof RecordError && reading.seqs === 'assigned') throw new RecordError(error.code, error.message);
    throw error;
  }
  throw new RecordError('refused', 'HTTP takes records only; a device asks for its shadow over WebSocket');
}

/** The fields with a seq; a question has none. @throws RecordError bad_seq where the request gives some and not others */
function withSeq(fields: Fields, reading: Reading): Fields {
  if (fields['get'] !== undefined) return fields;
  const seqs = fields['seq'] === undefined ? 'assigned' : 'given';
  reading.seqs ??= seqs;
  if (seqs !== reading.seqs) {
    throw new RecordError('bad_seq', 'a request gives a "seq" for every record or for none; the first decides');
  }
  return seqs === 'given' ? fields : { ...fields, seq: reading.assigned.next(reading.receivedMs) };
}

/** One element of ThingsBoard's telemetry. @throws RecordError */
export function readTelemetry({ text, at, value }: Element, reading: Reading): FrameRecord {
  if (!isObject(value)) throw new RecordError('bad_record', 'telemetry is an object, as {"temperature":80.5}');
  const hasTime = value['ts'] !== undefined && value['values'] !== undefined;
  if (!hasTime) return recordOf(Kind.telemetry, value, scanValue(text, at), undefined, reading);
  if (!isObject(value['values'])) throw new RecordError('bad_record', '"values" is an object, as {"temperature":80.5}');
  return recordOf(Kind.telemetry, value['values'], scanMember(text, at, 'values')!, value['ts'], reading);
}

/** One element of ThingsBoard's attributes: what the device reports of itself. @throws RecordError */
export function readAttributes({ text, at, value }: Element, reading: Reading): FrameRecord {
  if (!isObject(value)) throw new RecordError('bad_record', 'attributes are an object, as {"valve":"open"}');
  return recordOf(Kind.report, value, scanValue(text, at), undefined, reading);
}

function recordOf(
  kind: Kind,
  value: Fields,
  { start, end, depth }: Span,
  time: unknown,
  reading: Reading,
): FrameRecord {
  const { limits, receivedMs, assigned } = reading;
  try {
    const timeMs = admitTime(time, receivedMs, 0);
    admitSize(end - start, limits, 0);
    admitDepth(depth, limits, 0);
    admitPayload(kind, value, 0);
    return { kind, seq: assigned.next(receivedMs), timeMs, start, end };
  } catch (error) {
    throw error instanceof RecordError ? new RecordError(error.code, error.message) : error;
  }
}

function isObject(value: unknown): value is Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
