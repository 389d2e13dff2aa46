import { equal, ok } from 'node:assert/strict';
import fc from 'fast-check';
import { test, type Test } from 'tap';
import { mutated } from '../../../test/support/fuzz-frames.js';
import { RawClient } from '../../../test/support/http-client.js';
import { until } from '../../../test/support/processes.js';
import { ShadowHttp, type Checked } from '../../../test/support/shadow-http.js';
import { OPENAPI } from './openapi.js';

const SHADOW = '/things/press-1/shadow';
const HOST = 'Host: localhost\r\n';
const runs = { numRuns: 150 };

/** A good request is answered, and nothing is left of the bad ones. */
async function isWell(t: Test, http: ShadowHttp): Promise<void> {
  await until(() => http.endpoint.underWay === 0);
  const reply = await http.send('POST', SHADOW, { json: { state: { desired: { a: 1 } } } });
  t.equal(reply.status, 200);
  t.strictSame(
    http.lines.filter((line) => Number(line['level']) >= 50),
    [],
    'nothing failed in the service',
  );
}

/** Sends bytes in pieces and closes, after the server has read them. */
async function sendBytes(http: ShadowHttp, pieces: readonly (Buffer | Uint8Array | string)[]): Promise<void> {
  const client = await RawClient.open(http.port);
  for (const piece of pieces) {
    client.write(Buffer.from(piece as Uint8Array));
    await new Promise(setImmediate);
  }
  client.socket.end();
  await client.closed();
}

// First, because it takes longest (uWebSockets cuts after 10 s, in steps of 4 s): the other tests run meanwhile.
const slow = { clients: [] as RawClient[], http: undefined as ShadowHttp | undefined };

void test('clients that stall in the middle of a request are let in', async (t) => {
  const http = await ShadowHttp.start({ teardown: () => undefined });
  slow.http = http;
  const starts = [
    '',
    `POST ${SHADOW} HTTP/1.1\r\n`,
    `POST ${SHADOW} HTTP/1.1\r\n${HOST}Content-Len`,
    `POST ${SHADOW} HTTP/1.1\r\n${HOST}Content-Length: 1000\r\n\r\n`,
    `POST ${SHADOW} HTTP/1.1\r\n${HOST}Content-Length: 1000\r\n\r\n{"state":`,
    `POST ${SHADOW} HTTP/1.1\r\n${HOST}Transfer-Encoding: chunked\r\n\r\n5\r\n{"st`,
  ];
  for (const start of starts) {
    const client = await RawClient.open(http.port);
    client.write(start);
    slow.clients.push(client);
  }
  await until(() => http.endpoint.underWay === 3);
  t.end();
});

void test('random bytes do not harm the server', async (t) => {
  const http = await ShadowHttp.start(t);
  await fc.assert(
    fc.asyncProperty(fc.array(fc.uint8Array({ maxLength: 300 }), { maxLength: 3 }), async (pieces) => {
      await sendBytes(http, pieces);
    }),
    runs,
  );
  await isWell(t, http);
});

void test('damaged requests, pipelined or alone, do not harm the server', async (t) => {
  const http = await ShadowHttp.start(t);
  const body = '{"state":{"desired":{"a":1}}}';
  const requests = [
    `POST ${SHADOW} HTTP/1.1\r\n${HOST}Content-Length: ${body.length}\r\n\r\n${body}`,
    `POST ${SHADOW} HTTP/1.1\r\n${HOST}Transfer-Encoding: chunked\r\n\r\n5\r\n${body.slice(0, 5)}\r\n18\r\n${body.slice(5)}\r\n0\r\n\r\n`,
    `GET ${SHADOW}?name=a%20b HTTP/1.1\r\n${HOST}Authorization: Bearer x\r\n\r\n`,
    `HEAD /openapi.json HTTP/1.1\r\n${HOST}\r\n`,
    `DELETE ${SHADOW} HTTP/1.1\r\n${HOST}Connection: close\r\nExpect: 100-continue\r\n\r\n`,
    `GET / HTTP/1.1\r\n${HOST}Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: x\r\n\r\n`,
  ].map((text) => Buffer.from(text));
  const request = fc.oneof(fc.constantFrom(...requests), mutated(fc.constantFrom(...requests)));
  await fc.assert(
    fc.asyncProperty(fc.array(request, { minLength: 1, maxLength: 4 }), fc.boolean(), async (pieces, isOnePiece) => {
      await sendBytes(http, isOnePiece ? [Buffer.concat(pieces)] : pieces);
    }),
    { numRuns: 400 },
  );
  await isWell(t, http);
});

void test('floods of headers do not harm the server', async (t) => {
  const http = await ShadowHttp.start(t);
  const floods = [
    'A: b\r\n'.repeat(100_000),
    Array.from({ length: 40 }, (_, n) => `X-${n}: ${'y'.repeat(50)}\r\n`).join(''),
    `A: ${'b'.repeat(2_000_000)}\r\n`,
    'Authorization: Bearer x\r\n'.repeat(20),
    `${'a'.repeat(100_000)}: b\r\n`,
    ': \r\n'.repeat(1000),
    'Content-Length: 1\r\nContent-Length: 2\r\n',
    'Content-Length: 5\r\nTransfer-Encoding: chunked\r\n',
    'Content-Length: -1\r\n',
    'Content-Length: 99999999999999999999\r\n',
    'Transfer-Encoding: gzip\r\n',
  ];
  for (const flood of floods) {
    await sendBytes(http, [`POST ${SHADOW} HTTP/1.1\r\n${HOST}${flood}\r\n`, 'body']);
    await sendBytes(http, [`GET ${SHADOW} HTTP/1.1\r\n${flood}${HOST}\r\n`]);
  }
  await isWell(t, http);
});

void test('random paths and queries get an answer that is documented, and never 500', async (t) => {
  const http = await ShadowHttp.start(t);
  const character = fc.constantFrom(...Array.from({ length: 94 }, (_, n) => String.fromCharCode(33 + n)), '%2F', '%00');
  const text = fc.string({ unit: character, maxLength: 30 });
  const word = fc.oneof(text, fc.constantFrom('press-1', 'name', 'pageSize', 'nextToken', 'connected', 'true', '1'));
  const query = fc
    .array(fc.tuple(word, word), { maxLength: 3 })
    .map((pairs) => pairs.map((p) => p.join('=')).join('&'));
  const path = fc.oneof(
    text.map((rest) => `/${rest}`),
    word.map((id) => `/things/${id}/shadow`),
    word.map((id) => `/api/things/shadow/ListNamedShadowsForThing/${id}`),
    fc.tuple(word, word).map(([thing, id]) => `/things/${thing}/commands/${id}`),
    fc.constantFrom(SHADOW, '/things', '/commands', '/things/press-1/commands'),
  );
  const method = fc.constantFrom('GET', 'HEAD', 'DELETE', 'OPTIONS', 'PUT', 'POST');
  const statuses = new Set<number>();
  await fc.assert(
    fc.asyncProperty(method, path, query, async (verb, where, what) => {
      const { status } = await http.send(verb, what === '' ? where : `${where}?${what}`);
      ok(status !== 500);
      statuses.add(status);
    }),
    { numRuns: 600 },
  );
  t.ok(statuses.size >= 5, [...statuses].join());
  await isWell(t, http);
});

/** Values near to what a body may have. */
const { value } = fc.letrec((tie) => ({
  value: fc.oneof(
    { depthSize: 'small' },
    fc.constantFrom<unknown>(null, true, 0, 1, 7, -1, 1.5, 86_400, 2 ** 53, '', 'a', 'press-1', 'x'.repeat(65), {}, []),
    fc.array(tie('value'), { maxLength: 3 }),
    fc.dictionary(fc.constantFrom('desired', 'reported', 'a', 'delta'), tie('value'), { maxKeys: 3 }),
  ),
}));

function near(keys: readonly string[]): fc.Arbitrary<Record<string, unknown>> {
  return fc.record(Object.fromEntries(keys.map((key) => [key, value])), { requiredKeys: [] });
}

/** Sends bodies, good and bad, and holds what is refused against the schema. */
async function refusesAsDocumented(
  t: Test,
  path: string,
  schema: string,
  bodies: fc.Arbitrary<Record<string, unknown>>,
): Promise<void> {
  const http = await ShadowHttp.start(t);
  let good = 0;
  await fc.assert(
    fc.asyncProperty(bodies, async (json) => {
      http.api.commands.clear();
      const problems = http.contract.validate(OPENAPI.components.schemas[schema]!, JSON.parse(JSON.stringify(json)));
      const reply: Checked = await http.send('POST', path, { json });
      equal(reply.status === 400, problems.length > 0, `${reply.text} ${problems.join()}`);
      if (problems.length === 0) good++;
    }),
    { numRuns: 700 },
  );
  t.ok(good > 50, `${good} bodies were good`);
  await isWell(t, http);
}

void test('of updates, those are refused that the schema does not allow, and no others', async (t) => {
  const section = fc.oneof({ weight: 3, arbitrary: near(['a', 'b']) }, { weight: 1, arbitrary: value });
  const sections = fc.record({ desired: section, reported: section }, { requiredKeys: [] });
  const state = fc.oneof({ weight: 4, arbitrary: sections }, near(['desired', 'delta']), value);
  const version = fc.constantFrom<unknown>(undefined, undefined, 0, 1, 3, 9, null, '1', -1, 1.5);
  const clientToken = fc.constantFrom<unknown>(undefined, undefined, '', 'a', 'x'.repeat(64), 'x'.repeat(65), 1);
  const body = fc.record({ state, version, clientToken }, { requiredKeys: ['state'] });
  await refusesAsDocumented(
    t,
    SHADOW,
    'ShadowUpdate',
    fc.oneof({ weight: 5, arbitrary: body }, near(['state', 'extra'])),
  );
});

const name = fc.constantFrom<unknown>('reboot', 'a.b:c-d_e', 'x', '', '-', 1, 'x'.repeat(129));
const ttlSeconds = fc.constantFrom<unknown>(undefined, 1, 2_592_000, 60, 0, 2_592_001, 1.5, '1', null);

void test('of commands, those are refused that the schema does not allow, and no others', async (t) => {
  const body = fc.record({ name, data: value, ttlSeconds }, { requiredKeys: [] });
  await refusesAsDocumented(t, '/things/press-1/commands', 'CommandRequest', fc.oneof(body, near(['name', 'extra'])));
});

void test('of commands to many, those are refused that the schema does not allow, and no others', async (t) => {
  const things = fc.oneof(
    fc.constant(undefined),
    fc.constant(undefined),
    fc.constantFrom<unknown>(['press-1'], ['b', 'c'], ['b', 'b'], ['-'], [], [1], 'b', null),
  );
  const label = fc.constantFrom<unknown>(
    undefined,
    undefined,
    undefined,
    'press',
    '😀'.repeat(256),
    '',
    'x'.repeat(257),
    1,
  );
  const body = fc.record({
    name: fc.oneof({ weight: 5, arbitrary: fc.constant('x') }, name),
    things,
    type: label,
    site: label,
  });
  await refusesAsDocumented(t, '/commands', 'CommandsRequest', body);
});

void test('random bodies get an answer that is documented, and never 500', async (t) => {
  const http = await ShadowHttp.start(t);
  const json = fc.json({ maxDepth: 5 });
  const body = fc.oneof(
    json,
    fc.string(),
    fc.uint8Array().map((bytes) => Buffer.from(bytes)),
    json.map((text) => `{"state":{"desired":${text}}}`),
    json.map((text) => `{"name":"x","data":${text}}`),
    mutated(json.map((text) => Buffer.from(`{"state":{"reported":{"a":${text}}},"clientToken":"é"}`))),
  );
  const path = fc.constantFrom(SHADOW, '/things/press-1/commands', '/commands', '/things');
  await fc.assert(
    fc.asyncProperty(path, fc.oneof(body, fc.array(body, { minLength: 1, maxLength: 3 })), async (where, what) => {
      const pieces = (Array.isArray(what) ? what : [what]).map((piece) => Buffer.from(piece as string));
      const { status } = await http.send('POST', where, { body: Array.isArray(what) ? pieces : pieces[0]! });
      ok(status !== 500);
    }),
    { numRuns: 600 },
  );
  await isWell(t, http);
});

void test('hundreds of clients that go away at any moment leave nothing behind', async (t) => {
  const http = await ShadowHttp.start(t);
  const request = `POST ${SHADOW} HTTP/1.1\r\n${HOST}Content-Length: 29\r\n\r\n{"state":{"desired":{"a":1}}}`;
  await Promise.all(
    Array.from({ length: 300 }, async (_, n) => {
      const client = await RawClient.open(http.port);
      client.write(request.repeat(2).slice(0, n % (2 * request.length)));
      if (n % 3 > 0) await new Promise(setImmediate);
      if (n % 2 === 0) client.socket.resetAndDestroy();
      await client.end();
    }),
  );
  await isWell(t, http);
});

void test('clients that stalled have been cut, and leave nothing behind', async (t) => {
  const { http, clients } = slow;
  for (const client of clients) await client.closed();
  t.ok(clients.length > 0 && clients.every(({ received }) => !received.includes('200')));
  await isWell(t, http!);
  await http!.stop();
});
