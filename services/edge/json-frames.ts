/**
 * The JSON protocol: one record object a frame, or an array of them.
 *
 *   {"seq": 17, "time": 1732112345678, "data": {…}}    {"seq": 18, "report": {…}}    {"seq": 19, "result": {"id": …}}
 *
 * What is wrong with a record is said of that record, up to MAX_FRAME_ERRORS of them; its neighbours are stored.
 */
import { Kind } from '../../shared/batch.js';
import { messageOf } from '../../shared/errors.js';
import { scanArray, scanMember, type Span } from './json-scan.js';
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

/**
 * Takes a frame apart.
 * @param take gets every good record in order; false: take no more of this frame
 * @returns what is wrong with the frame as a whole, so that the session must end, or undefined
 */
export function readJsonFrame(
  frame: Buffer,
  session: DeviceSession,
  limits: RecordLimits,
  receivedMs: number,
  take: (record: FrameRecord) => boolean,
): string | undefined {
  let value: unknown;
  try {
    value = JSON.parse(frame.toString('utf8'));
  } catch (error) {
    const message = `the frame of ${frame.length} bytes is not JSON: ${messageOf(error)}`;
    session.error('bad_json', message, session.countUnread());
    return undefined;
  }
  if (!Array.isArray(value)) {
    takeElement(frame, value, 0, '', session, limits, receivedMs, take);
    return undefined;
  }
  let errors = 0;
  const spans = scanArray(frame, 0);
  for (const [index, element] of (value as unknown[]).entries()) {
    const where = `record ${index + 1} of ${value.length}: `;
    const outcome = takeElement(frame, element, spans[index]!.start, where, session, limits, receivedMs, take);
    if (outcome === 'over') return undefined;
    if (outcome === 'bad' && ++errors > MAX_FRAME_ERRORS) return `more than ${MAX_FRAME_ERRORS} of its records are bad`;
  }
  return undefined;
}

/** 'over': take no more of this frame. */
type Outcome = 'taken' | 'bad' | 'over';

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
    return take(readElement(frame, element, at, session, limits, receivedMs)) ? 'taken' : 'over';
  } catch (error) {
    if (!(error instanceof RecordError)) throw error;
    session.error(error.code, where + error.message, error.seq);
    // A device that does not read its errors is closed over them.
    return session.isTaking ? 'bad' : 'over';
  }
}

function readElement(
  frame: Buffer,
  element: unknown,
  at: number,
  session: DeviceSession,
  limits: RecordLimits,
  receivedMs: number,
): FrameRecord {
  if (typeof element !== 'object' || element === null || Array.isArray(element)) {
    throw new RecordError('bad_record', 'a record is an object, as {"seq":1,"data":{}}', session.countUnread());
  }
  const fields = element as Fields;
  if (fields['get'] !== undefined) throw new RecordError('refused', 'this edge has no shadows to get from');
  const seq = admitSeq(session, fields['seq']);
  const given = KINDS.filter(([name]) => fields[name] !== undefined);
  const [found] = given;
  if (found === undefined || given.length > 1) {
    throw new RecordError('bad_record', 'a record has exactly one of "data", "report" and "result"', seq);
  }
  const [name, kind] = found;
  checkShape(name, fields[name], seq);
  const timeMs = admitTime(fields['time'], receivedMs, seq);
  const span = scanMember(frame, at, name) as Span;
  admitSize(span.end - span.start, limits, seq);
  admitDepth(span.depth, limits, seq);
  return { kind, seq, timeMs, start: span.start, end: span.end };
}

/** A report is merged into a state and a result belongs to a command: both must be objects; data may be any JSON. */
function checkShape(name: string, value: unknown, seq: number): void {
  if (name === 'data') return;
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new RecordError('bad_record', `"${name}" must be an object`, seq);
  }
  if (name === 'result' && typeof (value as Fields)['id'] !== 'string') {
    throw new RecordError('bad_record', '"result" must name its command: {"id":"…","status":"…"}', seq);
  }
}
