/** What is answered: JSON with a status, and every error in one form, `{"code":404,"message":"…","clientToken"?:"…"}`. */
import { randomUUID } from 'node:crypto';
import { HoldfastError, asError } from '../../../shared/errors.js';
import type { LimitedLog } from '../../../shared/limited-log.js';
import type { Logger } from '../../../shared/log.js';
import { RequestError } from '../request-error.js';

export type Headers = readonly (readonly [name: string, value: string])[];

export interface Answer {
  readonly status: number;
  readonly headers: Headers;
  /** undefined: there is none, not even an empty one. */
  readonly body: Buffer | undefined;
}

const JSON_HEADERS: Headers = [
  ['Content-Type', 'application/json'],
  ['Cache-Control', 'no-store'],
];
const RETRY_AFTER_SECONDS = 1;

/** Where errors are logged. */
export interface ErrorLogs {
  /** What may come with every request. */
  readonly frequent: LimitedLog;
  /** What a caller was told to look for here. */
  readonly referenced: Logger;
}

/** @param status 200 where none is given */
export function jsonAnswer(value: unknown, status = 200, headers: Headers = []): Answer {
  return { status, headers: [...JSON_HEADERS, ...headers], body: Buffer.from(`${JSON.stringify(value)}\n`) };
}

/**
 * What is told of an error. What a caller did wrong is told as it is; a store that is away is 503; anything else is our
 * own fault: it is logged under a reference, and the caller hears the reference alone.
 */
export function errorAnswer(
  error: unknown,
  clientToken: string | undefined,
  logs: ErrorLogs,
  headers: Headers = [],
): Answer {
  const refused = asRequestError(error, logs);
  const { status, message, retryAfterSeconds } = refused;
  const more: [string, string][] = [];
  if (status === 401) more.push(['WWW-Authenticate', 'Bearer realm="holdfast shadow"']);
  if (status === 429 || status === 503) more.push(['Retry-After', String(retryAfterSeconds ?? RETRY_AFTER_SECONDS)]);
  const body = { code: status, message, ...(clientToken === undefined ? {} : { clientToken }) };
  return jsonAnswer(body, status, [...headers, ...more]);
}

function asRequestError(error: unknown, logs: ErrorLogs): RequestError {
  if (error instanceof RequestError) return error;
  if (error instanceof HoldfastError && error.retry) {
    logs.frequent.tell('warn', { code: error.code, reason: error.message }, 'a request could not be served');
    return new RequestError(503, 'this cannot be served at the moment; try again', RETRY_AFTER_SECONDS);
  }
  const reference = randomUUID();
  logs.referenced.error({ err: asError(error), reference }, 'a request failed');
  return new RequestError(500, `an error of the service itself; its log has it under ${reference}`);
}
