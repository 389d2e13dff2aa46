/** A thing's shadows, with the requests and answers of AWS IoT Device Shadow. */
import type { ShadowUpdate } from '../api.js';
import { isJsonObject, type Json, type JsonObject } from '../json.js';
import { RequestError } from '../request-error.js';
import { jsonAnswer } from './answers.js';
import { quoted, readFields } from './json-body.js';
import { LIMITS } from './limits.js';
import { readShadowName } from './query.js';
import type { Route } from './routes.js';

const PATH = '/things/{thing}/shadow';
const QUERY = ['name'];

export const shadowRoutes: readonly Route[] = [
  {
    method: 'GET',
    path: PATH,
    query: QUERY,
    async handle(api, { thing, query }) {
      return jsonAnswer(await api.getShadow(thing, readShadowName(query)));
    },
  },
  {
    method: 'POST',
    path: PATH,
    query: QUERY,
    async handle(api, { thing, query, body }) {
      const name = readShadowName(query);
      const update = readUpdate(body);
      const clientToken = clientTokenOf(body);
      const accepted = await api.updateShadow(thing, name, update);
      return jsonAnswer(clientToken === undefined ? accepted : { ...accepted, clientToken });
    },
  },
  {
    method: 'DELETE',
    path: PATH,
    query: QUERY,
    async handle(api, { thing, query }) {
      return jsonAnswer(await api.deleteShadow(thing, readShadowName(query)));
    },
  },
];

/** The clientToken of a body, where it has one that may be: what it comes with goes back with every answer, errors too. */
export function clientTokenOf(body: Json | undefined): string | undefined {
  if (!isJsonObject(body) || !Object.hasOwn(body, 'clientToken')) return undefined;
  const token = body['clientToken'];
  return typeof token === 'string' && Buffer.byteLength(token) <= LIMITS.clientTokenBytes ? token : undefined;
}

/** @throws RequestError 400, in the words of AWS */
export function readUpdate(body: Json | undefined): ShadowUpdate {
  const { state, version, clientToken } = readFields(body, 'the body', ['state', 'version', 'clientToken']);
  if (clientToken !== undefined && clientTokenOf(body) === undefined) {
    throw new RequestError(400, `Invalid clientToken: it must be text of at most ${LIMITS.clientTokenBytes} bytes`);
  }
  if (state === undefined) throw new RequestError(400, 'Missing required node: state');
  return { ...readState(state), version: readVersion(version) };
}

function readState(state: Json): Pick<ShadowUpdate, 'desired' | 'reported'> {
  if (!isJsonObject(state)) throw new RequestError(400, 'State node must be an object');
  const invalid = Object.keys(state).find((key) => key !== 'desired' && key !== 'reported');
  if (invalid !== undefined) {
    throw new RequestError(400, `State contains an invalid node: ${quoted(invalid)}; allowed: desired, reported`);
  }
  const { desired, reported } = state;
  if (desired === undefined && reported === undefined) {
    throw new RequestError(400, 'State node must contain desired or reported');
  }
  return { desired: readSection(desired, 'Desired'), reported: readSection(reported, 'Reported') };
}

function readSection(section: Json | undefined, name: string): JsonObject | null | undefined {
  if (section === undefined || section === null || isJsonObject(section)) return section;
  throw new RequestError(400, `${name} node must be an object`);
}

function readVersion(version: Json | undefined): number | undefined {
  if (version === undefined) return undefined;
  const { min, max } = LIMITS.version;
  if (typeof version === 'number' && Number.isInteger(version) && version >= min && version <= max) return version;
  throw new RequestError(400, `Invalid version: it must be a whole number from ${min} to ${max}`);
}
