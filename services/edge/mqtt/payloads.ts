/**
 * What a payload says, by the form that its topic has: one record or several, and where in the payload's bytes each one's
 * own payload stands.
 *
 *   holdfast      {"seq":17,"time":1732112345678,"data":{…}}, as over WebSocket; or the bare data; or an array of either
 *   thingsboard   {"ts":1732112345678,"values":{…}}, or the bare values; or an array of either
 *   attributes    the bare report
 *   rpc           the answer to a command: becomes {"id":…,"status":"SUCCEEDED","data":…}
 *   aws           {"state":{"reported":{…}}}
 *
 * An object is a record where it has "data" (or "report", "result") and beside it at most "seq" and "time"; any other is
 * bare. An array in an array is bare data, and a bare array has to be put into one.
 */
import { isUtf8 } from 'node:buffer';
import { Kind } from '../../../shared/batch.js';
import { messageOf } from '../../../shared/errors.js';
import { scanArray, scanMember, scanValue, type Span } from '../json-scan.js';
import { RecordError } from '../record-rules.js';
import type { Form } from './topics.js';

/** A record as a payload says it; nothing of it is checked. */
export interface Said {
  readonly seq: unknown;
  readonly time: unknown;
  readonly value: unknown;
  /** What `span` is of. */
  readonly source: Buffer;
  readonly span: Span;
}

type Fields = Readonly<Record<string, unknown>>;

/** The member that holds a record's payload. */
const MEMBERS: ReadonlyMap<Kind, string> = new Map([
  [Kind.telemetry, 'data'],
  [Kind.report, 'report'],
  [Kind.result, 'result'],
]);
const MEMBER_NAMES: readonly string[] = [...MEMBERS.values()];
/** How a command can end; anything else that a device answers means that it was done. */
const STATUSES: readonly unknown[] = ['SUCCEEDED', 'FAILED', 'REJECTED'];

/** Parses a payload. @throws RecordError bad_json */
export function parsePayload(payload: Buffer): unknown {
  if (!isUtf8(payload)) throw new RecordError('bad_json', 'the payload is not UTF-8');
  try {
    return JSON.parse(payload.toString('utf8'));
  } catch (error) {
    throw new RecordError('bad_json', `the payload of ${payload.length} bytes is not JSON: ${messageOf(error)}`);
  }
}

/** How many records a parsed payload says, and a function that says each. */
export interface Reading {
  readonly count: number;
  /** @throws RecordError */
  readonly say: (index: number) => Said;
}

/**
 * What a payload says.
 * @param commandId of the command that an `rpc` answers
 * @throws RecordError where it says nothing
 */
export function readPayload(payload: Buffer, kind: Kind, form: Form, commandId: string): Reading {
  const value = parsePayload(payload);
  const say = (element: unknown, at: number): Said => {
    if (form === 'holdfast') return sayHoldfast(payload, element, at, kind);
    return form === 'thingsboard' ? sayThingsBoard(payload, element, at) : bare(payload, element, at);
  };
  if (form === 'rpc') return { count: 1, say: () => sayResult(payload, value, commandId) };
  if (form === 'aws') return { count: 1, say: () => sayReported(payload, value) };
  if (form === 'attributes' || !Array.isArray(value)) return { count: 1, say: () => say(value, 0) };
  const spans = scanArray(payload, 0);
  return { count: value.length, say: (index) => say((value as unknown[])[index], spans[index]!.start) };
}

function bare(source: Buffer, value: unknown, at: number): Said {
  return { seq: undefined, time: undefined, value, source, span: scanValue(source, at) };
}

function sayHoldfast(source: Buffer, element: unknown, at: number, kind: Kind): Said {
  if (!isObject(element)) return bare(source, element, at);
  let members = 0;
  for (const key in element) {
    if (MEMBER_NAMES.includes(key)) members++;
    else if (key !== 'seq' && key !== 'time') return bare(source, element, at);
  }
  if (members === 0) return bare(source, element, at);
  const member = MEMBERS.get(kind)!;
  const { seq, time, [member]: value } = element;
  if (members > 1 || value === undefined) {
    throw new RecordError('bad_record', `a record of this topic has "${member}" and neither of the others`);
  }
  return { seq, time, value, source, span: scanMember(source, at, member)! };
}

function sayThingsBoard(source: Buffer, element: unknown, at: number): Said {
  if (!isObject(element) || !isObject(element['values'])) return bare(source, element, at);
  if (Object.keys(element).some((key) => key !== 'ts' && key !== 'values')) return bare(source, element, at);
  const { ts, values } = element;
  return { seq: undefined, time: ts, value: values, source, span: scanMember(source, at, 'values')! };
}

/** By its bytes: to make JSON of a value anew fails where it nests deep. */
function sayResult(payload: Buffer, answer: unknown, commandId: string): Said {
  const status = isObject(answer) && STATUSES.includes(answer['status']) ? (answer['status'] as string) : undefined;
  const data = status === undefined ? scanValue(payload, 0) : scanMember(payload, 0, 'data');
  const head = `{"id":${JSON.stringify(commandId)},"status":"${status ?? 'SUCCEEDED'}"`;
  const pieces =
    data === undefined ? [head, '}'] : [head, ',"data":', payload.toString('utf8', data.start, data.end), '}'];
  return bare(Buffer.from(pieces.join('')), { id: commandId }, 0);
}

/** The state that a request to a shadow reports; aws-shadow.ts has looked at the request. */
function sayReported(source: Buffer, request: unknown): Said {
  const { reported } = (request as { state: Fields }).state;
  const state = scanMember(source, 0, 'state')!;
  const span = scanMember(source, state.start, 'reported')!;
  return { seq: undefined, time: undefined, value: reported, source, span };
}

function isObject(value: unknown): value is Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
