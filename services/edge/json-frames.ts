/**
 * The JSON protocol: one record object a frame, or an array of them.
 *
 *   {"seq": 17, "time": 1732112345678, "data": {…}}    {"seq": 18, "report": {…}}    {"seq": 19, "result": {"id": …}}
 *
 * or a question, `{"get":"shadow"}`, which may stand among records and is none: it has no seq and is not counted.
 *
 * What is wrong with a record is said of that record, up to MAX_FRAME_ERRORS of them; its neighbours are stored.
 */
import { Kind } from '../../shared/batch.js';
import { messageOf } from '../../shared/errors.js';
import { admitPayload } from './payload-rules.js';
import { scanArray, scanMember, type Span } from './json-scan.js';
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

/** A record whose payload is `[start, end)` of the frame. */
export interface FrameRecord {
  readonly kind: Kind;
  readonly seq: number;
  readonly timeMs: number;
  readonly start: number;
  readonly end: number;
}

type Fields = Readonly<Record<string, unknown>>;

const KINDS: readonly (readonly [name: string, kind: Kind])[] = [
  ['data', Kind.telemetry],
  ['report', Kind.report],
  ['result', Kind.result],
];

/** What makes a record of an object. */
const RECORD_KEYS: readonly string[] = ['seq', 'time', ...KINDS.map(([name]) => name)];

/**
 * Takes a frame apart.
 * @param take gets every good record in order; false: take no more of this frame
 */
export function readJsonFrame(
  frame: Buffer,
  session: DeviceSession,
  limits: RecordLimits,
  receivedMs: number,
  take: (record: FrameRecord) => boolean,
): FrameOutcome {
  let value: unknown;
  try {
    value = JSON.parse(frame.toString('utf8'));
  } catch (error) {
    const message = `the frame of ${frame.length} bytes is not JSON: ${messageOf(error)}`;
    session.error('bad_json', message, session.countUnread());
    return { problem: undefined, asks: false };
  }
  if (!Array.isArray(value)) {
    const asks = takeElement(frame, value, 0, '', session, limits, receivedMs, take) === 'asked';
    return { problem: undefined, asks };
  }
  let errors = 0;
  let asks = false;
  const spans = scanArray(frame, 0);
  for (const [index, element] of (value as unknown[]).entries()) {
    const where = `record ${index + 1} of ${value.length}: `;
    const outcome = takeElement(frame, element, spans[index]!.start, where, session, limits, receivedMs, take);
    if (outcome === 'over') break;
    if (outcome === 'asked') asks = true;
    if (outcome === 'bad' && ++errors > MAX_FRAME_ERRORS) {
      return { problem: `more than ${MAX_FRAME_ERRORS} of its records are bad`, asks };
    }
  }
  return { problem: undefined, asks };
}

/** 'over': take no more of this frame. */
type Outcome = 'taken' | 'asked' | 'bad' | 'over';

function takeElement(
  frame: Buffer,
  element: unknown,
  at: number,
  where: string,
  session: DeviceSession,
  limits: RecordLimits,
  receivedMs: number,
  take: (record: FrameRecord) => boolean,
): Outcome {
  try {
    const record = readElement(frame, element, at, session, limits, receivedMs);
    if (record === undefined) return 'asked';
    return take(record) ? 'taken' : 'over';
  } catch (error) {
    if (!(error instanceof RecordError)) throw error;
    session.error(error.code, where + error.message, error.seq);
    // A device that does not read its errors is closed over them.
    return session.isTaking ? 'bad' : 'over';
  }
}

/**
 * One value of a frame as a record.
 * @param at where the value starts in the frame, or white space before it
 * @returns undefined where it is a question
 * @throws RecordError
 */
export function readElement(
  frame: Buffer,
  element: unknown,
  at: number,
  session: DeviceSession,
  limits: RecordLimits,
  receivedMs: number,
): FrameRecord | undefined {
  if (typeof element !== 'object' || element === null || Array.isArray(element)) {
    throw new RecordError('bad_record', 'a record is an object, as {"seq":1,"data":{}}', session.countUnread());
  }
  const fields = element as Fields;
  if (isQuestion(fields)) return undefined;
  const seq = admitSeq(session, fields['seq']);
  if (fields['get'] !== undefined) throw new RecordError('bad_record', 'a record has no "get"; ask by itself', seq);
  const given = KINDS.filter(([name]) => fields[name] !== undefined);
  const [found] = given;
  if (found === undefined || given.length > 1) {
    throw new RecordError('bad_record', 'a record has exactly one of "data", "report" and "result"', seq);
  }
  const [name, kind] = found;
  const timeMs = admitTime(fields['time'], receivedMs, seq);
  const span = scanMember(frame, at, name) as Span;
  admitSize(span.end - span.start, limits, seq);
  admitDepth(span.depth, limits, seq);
  admitPayload(kind, fields[name], seq);
  return { kind, seq, timeMs, start: span.start, end: span.end };
}

/**
 * True for a question that makes sense. One that also has what only records have counts as the record it may have been
 * meant as, so that device and edge go on counting alike.
 * @throws RecordError bad_record
 */
function isQuestion(fields: Fields): boolean {
  if (fields['get'] === undefined) return false;
  if (RECORD_KEYS.some((key) => fields[key] !== undefined)) return false;
  if (fields['get'] === 'shadow') return true;
  throw new RecordError('bad_record', 'there is one question to ask: {"get":"shadow"}');
}
