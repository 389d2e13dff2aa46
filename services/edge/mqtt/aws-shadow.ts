/**
 * AWS IoT's requests to a device's shadow, as far as a device can make them here: it can report its state and ask for the
 * shadow. It cannot desire, delete, or make a change depend on a version, because what it sends is acked once it is on disk
 * and applied to the shadow later, when nobody could tell it any more; and named shadows are for applications.
 *
 * `accepted` of an update comes after the commit and says what was reported; the version that it will have is not known yet.
 */
import { RecordError } from '../record-rules.js';
import { parsePayload } from './payloads.js';

/** A device's request: what it wants the answer to carry, and why it is rejected, where it is. */
export interface ShadowRequest {
  readonly clientToken: string | undefined;
  readonly rejected: readonly [code: number, message: string] | undefined;
  /** The state of an update. */
  readonly reported?: unknown;
}

/** More is no token. */
const MAX_TOKEN_CHARACTERS = 64;

/** Reads a request to `get` or `delete`, whose payload may be empty, or to `update`. */
export function readShadowRequest(
  verb: 'get' | 'update' | 'delete',
  named: string | undefined,
  payload: Buffer,
): ShadowRequest {
  let body: unknown = {};
  try {
    if (payload.length > 0 || verb === 'update') body = parsePayload(payload);
  } catch (error) {
    if (!(error instanceof RecordError)) throw error;
    return { clientToken: undefined, rejected: [400, error.message] };
  }
  const fields = isObject(body) ? body : {};
  const token = fields['clientToken'];
  const clientToken = typeof token === 'string' && token.length <= MAX_TOKEN_CHARACTERS ? token : undefined;
  const rejected = refusalOf(verb, named, body);
  return { clientToken, rejected, reported: isObject(fields['state']) ? fields['state']['reported'] : undefined };
}

function refusalOf(
  verb: 'get' | 'update' | 'delete',
  named: string | undefined,
  body: unknown,
): ShadowRequest['rejected'] {
  if (named !== undefined) return [403, 'named shadows are for applications; a device has the classic one'];
  if (verb === 'delete') return [403, 'a device cannot delete its shadow; it can report null'];
  if (!isObject(body)) return [400, 'a request is an object'];
  if (verb === 'get') return undefined;
  const { state, version } = body;
  if (version !== undefined) return [400, 'a device cannot make an update depend on a version'];
  if (!isObject(state)) return [400, 'an update is {"state":{"reported":{…}}}'];
  const others = Object.keys(state).filter((key) => key !== 'reported');
  if (others.length > 0) return [403, 'a device reports; what is desired is for applications to say'];
  return state['reported'] === undefined ? [400, 'an update is {"state":{"reported":{…}}}'] : undefined;
}

/** The answer to an update that was taken. */
export function acceptedUpdate({ clientToken, reported }: ShadowRequest, nowMs: number): string {
  return JSON.stringify({ state: { reported }, timestamp: seconds(nowMs), clientToken });
}

/** The answer to a request that was not. */
export function rejection(code: number, message: string, clientToken: string | undefined, nowMs: number): string {
  return JSON.stringify({ code, message, timestamp: seconds(nowMs), clientToken });
}

/** The answer to a get: the shadow's JSON, an object that is not empty, and the token. */
export function acceptedGet(shadow: string, clientToken: string | undefined): string {
  if (clientToken === undefined) return shadow;
  return `${shadow.slice(0, -1)},"clientToken":${JSON.stringify(clientToken)}}`;
}

/** The message to `update/delta`. */
export function deltaMessage(delta: string, version: number, nowMs: number): string {
  return `{"version":${version},"timestamp":${seconds(nowMs)},"state":${delta}}`;
}

function seconds(timeMs: number): number {
  return Math.floor(timeMs / 1_000);
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
