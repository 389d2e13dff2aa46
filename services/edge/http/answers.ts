/**
 * What a request with records is answered, always JSON:
 *
 *   {"ack":19}                                       200: all are on disk, the highest seq is 19
 *   {"ack":19,"errors":[{"index":1,"code":…}]}       207: all but those in error are
 *   {"ack":0,"errors":[…]}                           400: none is
 *   {"errors":[{"code":"credential","message":…}]}   the request was not looked into: 401, 403, 404, 405, 413, 415, 429, 503
 *
 * 429 is for a client that asks for too much (its rate, its window), 503 for an edge that cannot (memory, queue, disk,
 * restart): both say when to come back. Where either comes with an `ack`, the records before the `index` of its last error
 * were looked at, and those that are not in error are stored.
 */
import { STATUS } from './refusal.js';
import type { Refused } from '../admission.js';
import type { Ending, Room } from '../session.js';

export interface Answer {
  /** As in the status line, with its words. */
  readonly status: string;
  readonly headers: readonly (readonly [name: string, value: string])[];
  readonly body: string;
}

/** A record that is not stored. */
export interface RecordProblem {
  /** Its place in the body, from 0: an element of the array, or a line that is not blank. */
  readonly index: number;
  readonly code: string;
  readonly message: string;
  /** Where the device gave one that could be read. */
  readonly seq?: number;
}

const JSON_HEADERS: Answer['headers'] = [['Content-Type', 'application/json']];

const ROOMS: Readonly<Record<Room, { readonly status: string; readonly message: string }>> = {
  window: {
    status: '429 Too Many Requests',
    message: 'the records from here on are over EDGE_WINDOW; send them again, fewer in a request',
  },
  memory: {
    status: '503 Service Unavailable',
    message: 'the edge has as many records in memory as it may; send those from here on again',
  },
  queue: {
    status: '503 Service Unavailable',
    message: "the edge's queue is at its quota or its disk at the floor; send the records from here on again",
  },
};

/** The answer to records that were looked at. */
export function recordsAnswer(ack: number, errors: readonly RecordProblem[]): Answer {
  if (errors.length === 0) return { status: '200 OK', headers: JSON_HEADERS, body: `{"ack":${ack}}\n` };
  const status = ack === 0 ? '400 Bad Request' : '207 Multi-Status';
  return { status, headers: JSON_HEADERS, body: `${JSON.stringify({ ack, errors })}\n` };
}

/** The answer where the records from `index` on found no room. */
export function noRoomAnswer(
  ack: number,
  errors: readonly RecordProblem[],
  index: number,
  { room, retryAfterMs }: Extract<Ending, { why: 'no_room' }>,
): Answer {
  const { status, message } = ROOMS[room];
  const body = { ack, errors: [...errors, { index, code: room, message }] };
  const headers = [...JSON_HEADERS, ['Retry-After', String(Math.ceil(retryAfterMs / 1000))] as const];
  return { status, headers, body: `${JSON.stringify(body)}\n` };
}

/** The answer to a request that nobody looked into. */
export function errorAnswer(status: string, code: string, message: string, headers: Answer['headers'] = []): Answer {
  const body = `${JSON.stringify({ errors: [{ code, message }] })}\n`;
  return { status, headers: [...JSON_HEADERS, ...headers], body };
}

/** The answer to somebody who is not let in. */
export function refusalAnswer({ reason, message, retryAfterSeconds }: Refused): Answer {
  const headers: [string, string][] = [];
  if (reason === 'no_credential') headers.push(['WWW-Authenticate', 'Bearer']);
  if (retryAfterSeconds !== undefined) headers.push(['Retry-After', String(retryAfterSeconds)]);
  else if (STATUS[reason].startsWith('503')) headers.push(['Retry-After', '1']);
  return errorAnswer(STATUS[reason], reason, message, headers);
}
