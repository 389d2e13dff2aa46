/**
 * Commands: to one thing, to many, and what became of them.
 *
 * The answer to a request for many has no name and data in each command, which would be the same thousands of times.
 */
import type { CommandRequest, CommandTargets, CommandView } from '../api.js';
import type { Json } from '../json.js';
import { RequestError } from '../request-error.js';
import { jsonAnswer } from './answers.js';
import { quoted, readFields } from './json-body.js';
import { COMMAND_ID, COMMAND_NAME, LIMITS, THING_ID } from './limits.js';
import { readLabel, readPage } from './query.js';
import type { Route } from './routes.js';
import { nextField } from './thing-routes.js';

const COMMAND_FIELDS = ['name', 'data', 'ttlSeconds'] as const;
const OF_THING = '/things/{thing}/commands';

export const commandRoutes: readonly Route[] = [
  {
    method: 'GET',
    path: OF_THING,
    query: ['pageSize', 'nextToken'],
    async handle(api, { thing, query }) {
      const { items, next } = await api.listCommands(thing, readPage(query, COMMAND_ID));
      return jsonAnswer({ commands: items.map(showCommand), ...nextField(next) });
    },
  },
  {
    method: 'POST',
    path: OF_THING,
    query: [],
    async handle(api, { thing, body }) {
      const command = readCommand(readFields(body, 'the body', COMMAND_FIELDS));
      return jsonAnswer(showCommand(await api.sendCommand(thing, command)), 202);
    },
  },
  {
    method: 'POST',
    path: '/commands',
    query: [],
    async handle(api, { body }) {
      const fields = readFields(body, 'the body', [...COMMAND_FIELDS, 'things', 'type', 'site']);
      const command = readCommand(fields);
      const sent = await api.sendCommands(readTargets(fields), command);
      const commands = sent.map(({ id, thing, state, queuedAt, expiresAt }) => ({
        id,
        thing,
        state,
        queuedAt,
        expiresAt,
      }));
      return jsonAnswer({ commands }, 202);
    },
  },
  ...[`${OF_THING}/{id}`, '/commands/{id}'].flatMap(routesOfCommand),
];

function routesOfCommand(path: string): Route[] {
  return [
    {
      method: 'GET',
      path,
      query: [],
      async handle(api, { thing, id }) {
        return jsonAnswer(showCommand(await api.getCommand(thing === '' ? undefined : thing, id)));
      },
    },
    {
      method: 'DELETE',
      path,
      query: [],
      async handle(api, { thing, id }) {
        return jsonAnswer(showCommand(await api.cancelCommand(thing === '' ? undefined : thing, id)));
      },
    },
  ];
}

/** A command as it is shown: what a view may hold beside that is nobody's business. */
function showCommand(command: CommandView): CommandView {
  const { id, thing, name, data, state, queuedAt, expiresAt, sends, sentAt, finishedAt, result } = command;
  return {
    ...{ id, thing, name, data, state, queuedAt, expiresAt, sends },
    ...(sentAt === undefined ? {} : { sentAt }),
    ...(finishedAt === undefined ? {} : { finishedAt }),
    ...(result === undefined ? {} : { result }),
  };
}

type CommandFields = Readonly<Partial<Record<(typeof COMMAND_FIELDS)[number], Json>>>;

/** @throws RequestError 400, 413 */
export function readCommand({
  name,
  data = {},
  ttlSeconds = LIMITS.ttlSeconds.default,
}: CommandFields): CommandRequest {
  if (typeof name !== 'string' || !COMMAND_NAME.test(name)) {
    throw new RequestError(400, `name must be text that matches ${COMMAND_NAME.source}`);
  }
  const { min, max } = LIMITS.ttlSeconds;
  if (typeof ttlSeconds !== 'number' || !Number.isInteger(ttlSeconds) || ttlSeconds < min || ttlSeconds > max) {
    throw new RequestError(400, `ttlSeconds must be a whole number from ${min} to ${max}`);
  }
  const bytes = Buffer.byteLength(JSON.stringify(data));
  if (bytes > LIMITS.commandDataBytes) {
    const message = `data has ${bytes} bytes as JSON; a command may have ${LIMITS.commandDataBytes}`;
    throw new RequestError(413, `The payload exceeds the maximum size allowed: ${message}`);
  }
  return { name, data, ttlMs: ttlSeconds * 1000 };
}

type TargetFields = Readonly<Partial<Record<'things' | 'type' | 'site', Json>>>;

/** @throws RequestError 400 */
export function readTargets({ things, type, site }: TargetFields): CommandTargets {
  if ((things === undefined) === (type === undefined && site === undefined)) {
    throw new RequestError(400, 'say who the command is for: either things, or type and site or one of them');
  }
  if (things !== undefined) return readThings(things);
  const ofType = readLabel('type', type);
  const atSite = readLabel('site', site);
  return { ...(ofType === undefined ? {} : { type: ofType }), ...(atSite === undefined ? {} : { site: atSite }) };
}

function readThings(things: Json): readonly string[] {
  if (!Array.isArray(things) || things.length === 0 || things.length > LIMITS.things) {
    throw new RequestError(400, `things must be a list of 1 to ${LIMITS.things} ids of things`);
  }
  const ids = new Set<string>();
  for (const [index, id] of (things as readonly Json[]).entries()) {
    if (typeof id !== 'string' || !THING_ID.test(id)) {
      throw new RequestError(400, `things[${index}] must be text that matches ${THING_ID.source}`);
    }
    if (ids.has(id)) throw new RequestError(400, `things[${index}] names ${quoted(id)} again`);
    ids.add(id);
  }
  return [...ids];
}
