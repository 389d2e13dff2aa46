/** The parameters and the answers that operations of the OpenAPI document share. */
import { LIMITS } from './limits.js';
import { schema } from './openapi-schemas.js';
import type { Parameter, Reference, Response, ResponseHeader } from './openapi-types.js';

export const JSON_TYPE = 'application/json';

export const PARAMETERS = {
  thing: { name: 'thing', in: 'path', required: true, description: 'The id of a thing.', schema: schema('ThingId') },
  id: { name: 'id', in: 'path', required: true, description: 'The id of a command.', schema: schema('CommandId') },
  name: {
    name: 'name',
    in: 'query',
    description: 'The named shadow; without it, the classic one.',
    schema: schema('ShadowName'),
  },
  connected: { name: 'connected', in: 'query', description: 'Only these.', schema: { type: 'boolean' } },
  type: {
    name: 'type',
    in: 'query',
    description: 'Only things of this type.',
    schema: { type: 'string', minLength: 1, maxLength: LIMITS.labelLength },
  },
  site: {
    name: 'site',
    in: 'query',
    description: 'Only things at this site.',
    schema: { type: 'string', minLength: 1, maxLength: LIMITS.labelLength },
  },
  pageSize: {
    name: 'pageSize',
    in: 'query',
    description: 'The most items of a page.',
    schema: {
      type: 'integer',
      minimum: LIMITS.pageSize.min,
      maximum: LIMITS.pageSize.max,
      default: LIMITS.pageSize.default,
    },
  },
  nextToken: {
    name: 'nextToken',
    in: 'query',
    description: 'That of the page before.',
    schema: schema('NextToken'),
  },
} as const satisfies Readonly<Record<string, Parameter>>;

export function parameters(...names: readonly (keyof typeof PARAMETERS)[]): readonly Reference[] {
  return names.map((name) => ({ $ref: `#/components/parameters/${name}` }));
}

const RETRY_AFTER: Readonly<Record<string, ResponseHeader>> = {
  'Retry-After': {
    description: 'After how many seconds the same request may succeed.',
    required: true,
    schema: { type: 'integer', minimum: 1 },
  },
};

const WWW_AUTHENTICATE: Readonly<Record<string, ResponseHeader>> = {
  'WWW-Authenticate': {
    description: 'The scheme that is asked for.',
    required: true,
    schema: { type: 'string', pattern: '^Bearer ' },
  },
};

function error(description: string, headers?: Readonly<Record<string, ResponseHeader>>): Response {
  return {
    description,
    ...(headers === undefined ? {} : { headers }),
    content: { [JSON_TYPE]: { schema: schema('Error') } },
  };
}

export const RESPONSES = {
  BadRequest: error('The request is not as it must be; the message says what and where.'),
  Unauthorized: error('There is no bearer token.', WWW_AUTHENTICATE),
  Forbidden: error('Another token; a request of a web page; without a token, a Host that is not loopback.'),
  NotFound: error('The thing, shadow or command is not there.'),
  Conflict: error('Not in this state: version conflict, too many commands under way, or a command that is over.'),
  TooLarge: error('The body, the document that it would make, or the data of a command is too large.'),
  UnsupportedType: error('The Content-Type is given and is not application/json in UTF-8, or there is an encoding.'),
  TooMany: error('More requests a second than are served.', RETRY_AFTER),
  Failed: error('An error of the service; its log has it under the reference in the message.'),
  Unavailable: error(
    'The store is away, or the service has too much to do or stops. Whether a change was done is then not known.',
    RETRY_AFTER,
  ),
} as const satisfies Readonly<Record<string, Response>>;

const STATUSES = {
  400: 'BadRequest',
  401: 'Unauthorized',
  403: 'Forbidden',
  404: 'NotFound',
  409: 'Conflict',
  413: 'TooLarge',
  415: 'UnsupportedType',
  429: 'TooMany',
  500: 'Failed',
  503: 'Unavailable',
} as const satisfies Readonly<Record<number, keyof typeof RESPONSES>>;

const EVERYWHERE = [400, 401, 403, 429, 500, 503] as const;
const WITH_BODY = [413, 415] as const;

/** Of what everybody may read: the only thing that can be wrong is a query. */
export const PAGE_ERRORS: Readonly<Record<`${number}`, Reference>> = {
  400: { $ref: '#/components/responses/BadRequest' },
};

/** The errors that every operation has, and these. */
export function errors(...more: readonly (keyof typeof STATUSES)[]): Readonly<Record<`${number}`, Reference>> {
  const statuses = [...EVERYWHERE, ...more].sort((a, b) => a - b);
  return Object.fromEntries(
    statuses.map((status) => [String(status), { $ref: `#/components/responses/${STATUSES[status]}` }]),
  );
}

/** The errors that every operation with a body has, and these. */
export function errorsWithBody(...more: readonly (keyof typeof STATUSES)[]): Readonly<Record<`${number}`, Reference>> {
  return errors(...WITH_BODY, ...more);
}
