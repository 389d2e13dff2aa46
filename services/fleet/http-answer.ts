/**
 * The edge's answers to requests with records, read from a stream:
 *
 *   200 {"ack":19}    207, 400 {"ack":n,"errors":[{"index","code","message","seq"}]}: each record is on disk or in error
 *   429, 503 with an `ack`    those through `ack` are on disk or in error, the others found no room
 *   any status without one    nobody looked into the request
 */
import { HoldfastError } from '../../shared/errors.js';
import { headerOf, MAX_HEAD_BYTES, readHead, refusalOf, type HttpHead } from './http-head.js';
import type { ConnectionEnd } from './connection.js';

/** An answer names at most 1,000 errors. */
const MAX_BODY_BYTES = 1024 * 1024;

export interface RecordError {
  /** Undefined: the edge did not say which. */
  readonly seq: number | undefined;
  readonly problem: string;
}

export interface RecordsAnswer {
  readonly status: number;
  /** The highest seq on disk, 0 for none; undefined: the request was not looked into. */
  readonly ack: number | undefined;
  readonly errors: readonly RecordError[];
  /** Undefined where the records were looked at and the connection stays. */
  readonly refusal: ConnectionEnd | undefined;
  /** True where the edge closes behind it. */
  readonly isLast: boolean;
}

export interface ReadRecordsAnswer {
  readonly answer: RecordsAnswer;
  /** Of head and body. */
  readonly bytes: number;
}

/**
 * Reads one answer at the start of `bytes[..end)`.
 * @returns undefined while it is not whole
 * @throws HoldfastError bad_frame where it is no answer that an edge gives
 */
export function readRecordsAnswer(bytes: Buffer, end: number): ReadRecordsAnswer | undefined {
  const head = readHead(bytes.toString('latin1', 0, Math.min(end, MAX_HEAD_BYTES)));
  if (head === undefined) {
    if (end >= MAX_HEAD_BYTES) throw badAnswer(`it has over ${MAX_HEAD_BYTES} bytes of headers`);
    return undefined;
  }
  const length = headerOf(head, 'content-length') ?? '';
  if (head.status === 0 || !/^\d{1,9}$/.test(length)) throw badAnswer(`${head.statusText}, Content-Length ${length}`);
  const bodyBytes = Number(length);
  if (bodyBytes > MAX_BODY_BYTES) throw badAnswer(`its body has ${bodyBytes} bytes`);
  const total = head.bytes + bodyBytes;
  if (total > end) return undefined;
  return { answer: answerOf(head, bytes.toString('utf8', head.bytes, total)), bytes: total };
}

function answerOf(head: HttpHead, body: string): RecordsAnswer {
  const { status } = head;
  const { ack, errors } = bodyOf(body, status);
  const isLookedInto = ack !== undefined && status !== 429 && status !== 503;
  return {
    status,
    ack,
    errors,
    refusal: isLookedInto ? undefined : refusalOf(head, body),
    isLast: headerOf(head, 'connection')?.toLowerCase() === 'close',
  };
}

function bodyOf(body: string, status: number): Pick<RecordsAnswer, 'ack' | 'errors'> {
  let value: unknown;
  try {
    value = JSON.parse(body);
  } catch (error) {
    if (status === 200 || status === 207) throw badAnswer(`${status} with a body that is not JSON`, error);
    // Not the edge's own: uWebSockets', or a proxy's.
    return { ack: undefined, errors: [] };
  }
  const { ack, errors = [] } = (value ?? {}) as { ack?: unknown; errors?: unknown };
  if (ack !== undefined && !isWhole(ack)) throw badAnswer('its ack is not a whole number');
  if ((status === 200 || status === 207) && ack === undefined) throw badAnswer(`${status} without an ack`);
  if (!Array.isArray(errors)) throw badAnswer('its errors are not a list');
  return { ack, errors: errors.map(errorOf) };
}

function errorOf(value: unknown): RecordError {
  const { seq, code, message } = (value ?? {}) as Readonly<Record<string, unknown>>;
  if (typeof code !== 'string' || typeof message !== 'string') throw badAnswer('an error has no code or no message');
  if (seq !== undefined && !isWhole(seq)) throw badAnswer('the seq of an error is not a whole number');
  return { seq, problem: `${code}: ${message}` };
}

function isWhole(value: unknown): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0;
}

function badAnswer(what: string, cause?: unknown): HoldfastError {
  return new HoldfastError('bad_frame', `not an answer that an edge gives: ${what}`, false, cause);
}
