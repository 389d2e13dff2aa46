import { test } from 'tap';
import { ApiContract } from '../../../test/support/api-contract.js';
import type { Call, Reply } from '../../../test/support/http-client.js';
import { OPENAPI } from './openapi.js';
import type { OpenApi } from './openapi-types.js';
import { ROUTES } from './routes.js';

const contract = new ApiContract(OPENAPI);

/** Every `$ref` of the document. */
function referencesIn(value: unknown): string[] {
  if (typeof value !== 'object' || value === null) return [];
  return Object.entries(value).flatMap(([key, member]) =>
    key === '$ref' ? [String(member)] : referencesIn(member as unknown),
  );
}

void test('the document has the operations that are served, and no others', (t) => {
  const served = ROUTES.map(({ method, path }) => `${method} ${path}`);
  const documented = contract.operations().map(([key]) => key);
  t.strictSame([...served, 'GET /', 'GET /openapi.json'].sort(), documented.sort());
  t.end();
});

void test('every query parameter that a route takes is documented, and no other', (t) => {
  for (const { method, path, query } of ROUTES) {
    const [, operation] = contract.operations().find(([key]) => key === `${method} ${path}`)!;
    const parameters = (operation.parameters ?? []).map(({ $ref }) => {
      const parameter = OPENAPI.components.parameters[$ref.split('/').at(-1)!];
      return parameter!;
    });
    const named = (place: string): string[] =>
      parameters.filter((parameter) => parameter.in === place).map(({ name }) => name);
    t.strictSame(named('query').sort(), [...query].sort(), `${method} ${path}`);
    t.strictSame(named('path').sort(), [...path.matchAll(/\{(\w+)\}/g)].map(([, name]) => name).sort());
    t.equal(operation.requestBody !== undefined, method === 'POST');
  }
  t.end();
});

void test('every reference leads somewhere, and everything is referred to', (t) => {
  const references = new Set(referencesIn(OPENAPI));
  const components = Object.entries(OPENAPI.components)
    .filter(([kind]) => kind !== 'securitySchemes')
    .flatMap(([kind, members]) => Object.keys(members).map((name) => `#/components/${kind}/${name}`));
  t.strictSame([...references].sort(), components.sort());
  const ids = contract.operations().map(([, { operationId }]) => operationId);
  t.equal(new Set(ids).size, ids.length);
  t.end();
});

void test('every schema is a schema of JSON Schema 2020-12, and every example fits its own', (t) => {
  for (const [name, schema] of Object.entries(OPENAPI.components.schemas)) {
    t.doesNotThrow(() => contract.validate(schema, null), name);
    for (const example of schema.examples ?? []) t.strictSame(contract.validate(schema, example), []);
  }
  for (const [key, { requestBody }] of contract.operations()) {
    for (const { schema, example } of Object.values(requestBody?.content ?? {})) {
      t.strictSame(contract.validate(schema, example), [], key);
    }
  }
  t.end();
});

const REPLY: Reply = {
  status: 200,
  headers: { 'content-type': 'application/json', 'content-length': '13' },
  text: '{"things":[]}',
};
const CALL: Call = { method: 'GET', path: '/things' };

function replyOf(status: number, value: unknown, headers: Reply['headers'] = {}): Reply {
  const text = JSON.stringify(value);
  const length = String(Buffer.byteLength(text));
  return { status, headers: { 'content-type': 'application/json', 'content-length': length, ...headers }, text };
}

/** Answers that are wrong, and what is said of them. */
const planted: readonly (readonly [what: string, call: Partial<Call>, reply: Reply, problem: RegExp])[] = [
  ['a field too many', {}, replyOf(200, { things: [], extra: 1 }), /additional properties/],
  ['a field missing', {}, replyOf(200, {}), /required property 'things'/],
  ['a bad id', {}, replyOf(200, { things: [{ thing: '-', connected: true, type: null, site: null }] }), /pattern/],
  ['no JSON', {}, { ...REPLY, text: '{"things":[] ' }, /must be object/],
  ['another type', {}, { ...REPLY, headers: { ...REPLY.headers, 'content-type': 'text/html' } }, /not documented/],
  ['a wrong length', {}, { ...REPLY, headers: { ...REPLY.headers, 'content-length': '12' } }, /length is wrong/],
  ['a status that is not documented', {}, replyOf(404, { code: 404, message: 'x' }), /404 is not documented/],
  ['another code', {}, replyOf(400, { code: 401, message: 'x' }), /code is not status/],
  ['an empty message', {}, replyOf(400, { code: 400, message: '' }), /fewer than 1 char/],
  ['no Retry-After', {}, replyOf(429, { code: 429, message: 'x' }), /no header Retry-After/],
  ['a bad Retry-After', {}, replyOf(429, { code: 429, message: 'x' }, { 'retry-after': '0' }), /must be >= 1/],
  ['no WWW-Authenticate', {}, replyOf(401, { code: 401, message: 'x' }), /no header WWW-Authenticate/],
  ['a CORS header', {}, replyOf(200, { things: [] }, { 'access-control-allow-origin': '*' }), /access-control/],
  ['a body of HEAD', { method: 'HEAD' }, REPLY, /HEAD has a body/],
  ['an unknown path that is served', { path: '/nowhere' }, REPLY, /status 200 is none of 404/],
  ['another method that is served', { method: 'PUT' }, REPLY, /Allow is/],
  ['no Allow', { method: 'PUT' }, replyOf(405, { code: 405, message: 'x' }), /Allow is/],
  ['OPTIONS with 200', { method: 'OPTIONS' }, replyOf(200, {}, { allow: 'GET, HEAD, OPTIONS' }), /204/],
  ['a bad parameter that is served', { path: '/things?pageSize=0' }, REPLY, /must be >= 1/],
  ['an unknown parameter that is served', { path: '/things?x=1' }, REPLY, /x is not documented/],
  [
    'a bad body that is served',
    { method: 'POST', path: '/things/a/shadow', json: { state: {} } },
    replyOf(200, { state: {}, metadata: {}, version: 1, timestamp: 1 }),
    /served, but the body: .* fewer than 1/,
  ],
];

void test('the checker finds every way in which an answer can be wrong', (t) => {
  t.strictSame(contract.problems(CALL, REPLY), []);
  for (const [what, call, reply, problem] of planted) {
    const problems = contract.problems({ ...CALL, ...call }, reply);
    t.ok(
      problems.some((each) => problem.test(each)),
      `${what}: ${problems.join('; ')}`,
    );
  }
  t.end();
});

void test('the checker notes what was produced, and nothing else', (t) => {
  const fresh = new ApiContract(OPENAPI);
  fresh.problems(CALL, REPLY);
  fresh.problems(CALL, replyOf(418, {}));
  fresh.problems({ ...CALL, path: '/nowhere' }, replyOf(404, { code: 404, message: 'x' }));
  t.strictSame([...fresh.produced], ['GET /things 200']);
  const document: OpenApi = { ...OPENAPI, paths: { '/things': OPENAPI.paths['/things']! } };
  t.strictSame(
    new ApiContract(document).documented,
    [200, 400, 401, 403, 429, 500, 503].map((status) => `GET /things ${status}`),
  );
  t.end();
});
