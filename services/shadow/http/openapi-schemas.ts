/** The schemas of the OpenAPI document; what they allow is what the checks allow (limits.ts). */
import { COMMAND_STATES } from '../api.js';
import { COMMAND_ID, COMMAND_NAME, LIMITS, PAGE_TOKEN, SHADOW_NAME, THING_ID } from './limits.js';
import type { Schema } from './openapi-types.js';

export function schema(name: keyof typeof SCHEMAS): Schema {
  return { $ref: `#/components/schemas/${name}` };
}

const TIME: Schema = { type: 'integer', minimum: 0, description: 'Milliseconds since 1970.' };
const ANYTHING: Schema = { description: 'Any JSON.' };
const LABEL: Schema = { type: ['string', 'null'], description: 'From table `devices`; null where it is not known.' };
const GIVEN_LABEL: Schema = { type: 'string', minLength: 1, maxLength: LIMITS.labelLength };

/** An object that has these properties and no others. */
function exactly(
  properties: Readonly<Record<string, Schema>>,
  required: readonly string[],
  description?: string,
): Schema {
  return {
    ...(description === undefined ? {} : { description }),
    ...{ type: 'object', properties, required, additionalProperties: false },
  };
}

/** The sections of a shadow, each as `section` says. */
function sections(names: readonly string[], section: Schema): Schema {
  return exactly(Object.fromEntries(names.map((name) => [name, section])), []);
}

function ref(name: string): Schema {
  return { $ref: `#/components/schemas/${name}` };
}

const COMMAND_REQUEST: Readonly<Record<string, Schema>> = {
  name: { type: 'string', pattern: COMMAND_NAME.source, examples: ['reboot'] },
  data: { description: `Any JSON, of at most ${LIMITS.commandDataBytes} bytes without spaces.`, default: {} },
  ttlSeconds: {
    type: 'integer',
    minimum: LIMITS.ttlSeconds.min,
    maximum: LIMITS.ttlSeconds.max,
    default: LIMITS.ttlSeconds.default,
    description: 'How long the device has; after that the command is TIMED_OUT.',
  },
};

const COMMAND_HEAD: Readonly<Record<string, Schema>> = {
  id: ref('CommandId'),
  thing: ref('ThingId'),
  state: ref('CommandState'),
  queuedAt: TIME,
  expiresAt: TIME,
};

export const SCHEMAS = {
  ThingId: { type: 'string', pattern: THING_ID.source, description: 'The id of a device.', examples: ['engine-1'] },
  ShadowName: { type: 'string', pattern: SHADOW_NAME.source, description: 'The name of a named shadow.' },
  CommandId: { type: 'string', format: 'uuid', pattern: COMMAND_ID.source, description: 'A UUID of version 7.' },
  CommandState: { type: 'string', enum: COMMAND_STATES },
  NextToken: {
    type: 'string',
    pattern: PAGE_TOKEN.source,
    description: 'Where the next page begins; there where this was not the last one. It says nothing else.',
  },
  Section: { type: 'object', description: 'Attributes; arrays are replaced whole and have no null in them.' },
  ShadowUpdate: exactly(
    {
      state: {
        ...sections(['desired', 'reported'], { type: ['object', 'null'] }),
        minProperties: 1,
        description:
          'Only what is given changes. null for an attribute removes it, null for a section removes the section.',
      },
      version: {
        type: 'integer',
        minimum: LIMITS.version.min,
        maximum: LIMITS.version.max,
        description: 'The update holds only where the document has this version; otherwise 409.',
      },
      clientToken: {
        type: 'string',
        maxLength: LIMITS.clientTokenBytes,
        description: `At most ${LIMITS.clientTokenBytes} bytes; comes back with the answer.`,
      },
    },
    ['state'],
  ),
  Metadata: {
    type: 'object',
    description: 'For each attribute, when it was set: `{"timestamp": milliseconds since 1970}`.',
    additionalProperties: ref('MetadataNode'),
  },
  MetadataNode: {
    anyOf: [{ type: 'integer', minimum: 0 }, ref('Metadata'), { type: 'array', items: ref('MetadataNode') }],
  },
  Shadow: exactly(
    {
      state: sections(['desired', 'reported', 'delta'], ref('Section')),
      metadata: sections(['desired', 'reported', 'delta'], ref('Metadata')),
      version: { type: 'integer', minimum: 0 },
      timestamp: TIME,
      latest: {
        description: 'The newest telemetry of the thing; null where there was none.',
        anyOf: [
          { type: 'null' },
          exactly({ time: { type: 'number' }, seq: { type: 'number' }, data: ANYTHING }, ['time', 'seq', 'data']),
        ],
      },
      connected: { type: 'boolean', description: 'Whether the thing is connected to an edge.' },
    },
    ['state', 'metadata', 'version', 'timestamp'],
  ),
  AcceptedUpdate: exactly(
    {
      state: sections(['desired', 'reported'], { type: ['object', 'null'] }),
      metadata: sections(['desired', 'reported'], ref('Metadata')),
      version: { type: 'integer', minimum: 0 },
      timestamp: TIME,
      clientToken: { type: 'string', maxLength: LIMITS.clientTokenBytes },
    },
    ['state', 'metadata', 'version', 'timestamp'],
    'The sections of the request, as they were accepted.',
  ),
  DeletedShadow: exactly({ version: { type: 'integer', minimum: 0 }, timestamp: TIME }, ['version', 'timestamp']),
  ShadowNames: exactly(
    {
      results: { type: 'array', items: ref('ShadowName'), maxItems: LIMITS.pageSize.max },
      timestamp: TIME,
      nextToken: ref('NextToken'),
    },
    ['results', 'timestamp'],
  ),
  Things: exactly(
    {
      things: {
        type: 'array',
        maxItems: LIMITS.pageSize.max,
        items: exactly({ thing: ref('ThingId'), connected: { type: 'boolean' }, type: LABEL, site: LABEL }, [
          ...['thing', 'connected', 'type', 'site'],
        ]),
      },
      nextToken: ref('NextToken'),
    },
    ['things'],
    'In order of ids. A page may have fewer things than asked for, even none, and still a next page.',
  ),
  CommandRequest: exactly(COMMAND_REQUEST, ['name']),
  CommandsRequest: {
    oneOf: [
      exactly(
        {
          ...COMMAND_REQUEST,
          things: {
            ...{ type: 'array', items: ref('ThingId'), uniqueItems: true },
            ...{ minItems: 1, maxItems: LIMITS.things },
          },
        },
        ['name', 'things'],
        'For the things that are named.',
      ),
      {
        ...exactly({ ...COMMAND_REQUEST, type: GIVEN_LABEL, site: GIVEN_LABEL }, ['name']),
        anyOf: [{ required: ['type'] }, { required: ['site'] }],
        description: 'For all things of a type, at a site, or of a type at a site.',
      },
    ],
  },
  Command: exactly(
    {
      ...COMMAND_HEAD,
      name: { type: 'string', pattern: COMMAND_NAME.source },
      data: ANYTHING,
      sends: { type: 'integer', minimum: 0, description: 'How often it was sent to the device.' },
      sentAt: { ...TIME, description: 'When it was first sent, milliseconds since 1970.' },
      finishedAt: { ...TIME, description: 'When it was over, milliseconds since 1970.' },
      result: { description: 'What the device said of it: any JSON.' },
    },
    [...Object.keys(COMMAND_HEAD), 'name', 'data', 'sends'],
  ),
  Commands: exactly(
    {
      commands: { type: 'array', items: ref('Command'), maxItems: LIMITS.pageSize.max },
      nextToken: ref('NextToken'),
    },
    ['commands'],
    'Newest first.',
  ),
  SentCommands: exactly(
    { commands: { type: 'array', items: exactly(COMMAND_HEAD, Object.keys(COMMAND_HEAD)) } },
    ['commands'],
    'One command a thing.',
  ),
  Error: exactly(
    {
      code: { type: 'integer', minimum: 400, maximum: 599, description: 'The HTTP status.' },
      message: { type: 'string', minLength: 1, description: 'What is wrong, where, and what is allowed.' },
      clientToken: { type: 'string', maxLength: LIMITS.clientTokenBytes },
    },
    ['code', 'message'],
  ),
} as const satisfies Readonly<Record<string, Schema>>;
