/**
 * The OpenAPI 3.1 document of the API. It is written by hand, from the limits that the checks use; the tests hold every
 * answer of the server to it, and see to it that there is nothing in it that the server does not do.
 */
import { VERSION } from '../../../shared/version.js';
import { JSON_TYPE, PAGE_ERRORS, PARAMETERS, RESPONSES, errors, errorsWithBody, parameters } from './openapi-parts.js';
import { SCHEMAS, schema } from './openapi-schemas.js';
import type { OpenApi, Operation, PathItem, Response } from './openapi-types.js';

const DESCRIPTION = `The state of devices as they report it and as it is desired, with the semantics of AWS IoT Device \
Shadow, and commands to devices. Times are milliseconds since 1970.

- Every error is \`{"code", "message"}\`, with the \`clientToken\` of the request where it had one.
- HEAD answers as GET does, without the body; OPTIONS answers 204 with \`Allow\`. Another method: 405 with \`Allow\`; \
another path: 404.
- What an operation does not know is refused: query parameters, parameters that are given twice, fields of a body.
- A body is JSON; without a Content-Type it is taken for it.
- Browsers are not meant to call this: a request with an \`Origin\` header gets 403, and no CORS headers are sent.
- HTTP/1.1 only, and one request of a connection after the other: one that is sent before the answer to the one before \
it cuts the connection. Bytes that are no HTTP are answered without JSON, or not at all.`;

const NOBODY_ASKED = [{}] as const;

function json(name: keyof typeof SCHEMAS, description: string): Response {
  return { description, content: { [JSON_TYPE]: { schema: schema(name) } } };
}

function body(name: keyof typeof SCHEMAS, example: unknown): NonNullable<Operation['requestBody']> {
  return { required: true, content: { [JSON_TYPE]: { schema: schema(name), example } } };
}

/** A command by its id, under its thing and without it. */
function commandItem(suffix: string, names: readonly (keyof typeof PARAMETERS)[]): PathItem {
  return {
    get: {
      operationId: `getCommand${suffix}`,
      tags: ['commands'],
      summary: 'What became of a command',
      parameters: parameters(...names),
      responses: { 200: json('Command', 'The command.'), ...errors(404) },
    },
    delete: {
      operationId: `cancelCommand${suffix}`,
      tags: ['commands'],
      summary: 'Cancel a command',
      description: 'A device that has it already may do it all the same.',
      parameters: parameters(...names),
      responses: { 200: json('Command', 'The command, canceled.'), ...errors(404, 409) },
    },
  };
}

const shadows: OpenApi['paths'] = {
  '/things/{thing}/shadow': {
    get: {
      operationId: 'getThingShadow',
      tags: ['shadows'],
      summary: 'A shadow',
      parameters: parameters('thing', 'name'),
      responses: { 200: json('Shadow', 'The document.'), ...errors(404) },
    },
    post: {
      operationId: 'updateThingShadow',
      tags: ['shadows'],
      summary: 'Change a shadow',
      parameters: parameters('thing', 'name'),
      requestBody: body('ShadowUpdate', { state: { desired: { throttle: 60 } }, clientToken: 'a-1' }),
      responses: { 200: json('AcceptedUpdate', 'It is changed, and that is durable.'), ...errorsWithBody(409) },
    },
    delete: {
      operationId: 'deleteThingShadow',
      tags: ['shadows'],
      summary: 'Remove a shadow',
      parameters: parameters('thing', 'name'),
      responses: { 200: json('DeletedShadow', 'It is gone.'), ...errors(404) },
    },
  },
  '/api/things/shadow/ListNamedShadowsForThing/{thing}': {
    get: {
      operationId: 'listNamedShadowsForThing',
      tags: ['shadows'],
      summary: 'The names of the named shadows of a thing',
      parameters: parameters('thing', 'pageSize', 'nextToken'),
      responses: { 200: json('ShadowNames', 'A page of names, in order.'), ...errors(404) },
    },
  },
};

const commands: OpenApi['paths'] = {
  '/things/{thing}/commands': {
    get: {
      operationId: 'listCommands',
      tags: ['commands'],
      summary: 'The commands of a thing',
      parameters: parameters('thing', 'pageSize', 'nextToken'),
      responses: { 200: json('Commands', 'A page of commands.'), ...errors(404) },
    },
    post: {
      operationId: 'sendCommand',
      tags: ['commands'],
      summary: 'Send a command to a thing',
      description:
        'It is kept until the device has answered or its time is over, and sent whenever the device connects.',
      parameters: parameters('thing'),
      requestBody: body('CommandRequest', { name: 'reboot', data: {}, ttlSeconds: 3600 }),
      responses: { 202: json('Command', 'It is queued, and that is durable.'), ...errorsWithBody(404, 409) },
    },
  },
  '/commands': {
    post: {
      operationId: 'sendCommands',
      tags: ['commands'],
      summary: 'Send a command to many things',
      requestBody: body('CommandsRequest', { name: 'reboot', things: ['engine-1', 'engine-2'] }),
      responses: { 202: json('SentCommands', 'They are queued, and that is durable.'), ...errorsWithBody(404, 409) },
    },
  },
  '/things/{thing}/commands/{id}': commandItem('OfThing', ['thing', 'id']),
  '/commands/{id}': commandItem('', ['id']),
};

const rest: OpenApi['paths'] = {
  '/things': {
    get: {
      operationId: 'listThings',
      tags: ['things'],
      summary: 'The things',
      parameters: parameters('connected', 'type', 'site', 'pageSize', 'nextToken'),
      responses: { 200: json('Things', 'A page of things.'), ...errors() },
    },
  },
  '/': {
    get: {
      operationId: 'about',
      tags: ['about'],
      summary: 'What this is',
      security: NOBODY_ASKED,
      responses: {
        200: { description: 'A few lines.', content: { 'text/plain; charset=utf-8': { schema: { type: 'string' } } } },
        ...PAGE_ERRORS,
      },
    },
  },
  '/openapi.json': {
    get: {
      operationId: 'openapi',
      tags: ['about'],
      summary: 'This document',
      security: NOBODY_ASKED,
      responses: {
        200: { description: 'It.', content: { [JSON_TYPE]: { schema: { type: 'object', required: ['openapi'] } } } },
        ...PAGE_ERRORS,
      },
    },
  },
};

export const OPENAPI: OpenApi = {
  openapi: '3.1.0',
  info: {
    title: 'Holdfast shadow',
    version: VERSION,
    description: DESCRIPTION,
    license: { name: 'Apache-2.0', identifier: 'Apache-2.0' },
  },
  jsonSchemaDialect: 'https://json-schema.org/draft/2020-12/schema',
  servers: [{ url: '/', description: 'Where this document comes from.' }],
  security: [{ token: [] }, {}],
  tags: [
    { name: 'shadows', description: 'Reported and desired state.' },
    { name: 'commands', description: 'What a device is to do once.' },
    { name: 'things', description: 'Who there is.' },
    { name: 'about', description: 'This service.' },
  ],
  paths: { ...shadows, ...commands, ...rest },
  components: {
    schemas: SCHEMAS,
    parameters: PARAMETERS,
    responses: RESPONSES,
    securitySchemes: {
      token: {
        type: 'http',
        scheme: 'bearer',
        description: 'SHADOW_API_TOKEN; where none is set, only loopback is served, without a token.',
      },
    },
  },
};
