import { once } from 'node:events';
import { connect } from 'node:net';
import { test } from 'tap';
import { HttpClient, RawClient } from '../../../test/support/http-client.js';
import { until } from '../../../test/support/processes.js';
import { ShadowHttp } from '../../../test/support/shadow-http.js';
import type { JsonObject } from '../json.js';

const SHADOW = '/things/press-1/shadow';
const HOST = 'Host: localhost\r\n';
const BODY = '{"state":{"desired":{"a":1}}}';

/** A document of about so many bytes. */
function documentOf(bytes: number): JsonObject {
  const desired = { text: 'x'.repeat(bytes) };
  return { state: { desired }, metadata: { desired: { text: { timestamp: 1 } } }, version: 1, timestamp: 1 };
}

function countOf(text: string, part: string): number {
  return text.split(part).length - 1;
}

async function rssBytes(): Promise<number> {
  await new Promise(setImmediate);
  return process.memoryUsage.rss();
}

void test('one connection serves many requests, one after the other', async (t) => {
  const http = await ShadowHttp.start(t);
  const client = await RawClient.open(http.port);
  for (let n = 1; n <= 50; n++) {
    client.write(`POST ${SHADOW} HTTP/1.1\r\n${HOST}Content-Length: ${BODY.length}\r\n\r\n${BODY}`);
    await client.until((text) => text.includes(`"version":${n},`));
    client.write(`GET ${SHADOW} HTTP/1.1\r\n${HOST}\r\n`);
    await client.until((text) => countOf(text, 'HTTP/1.1 200 OK') === 2 * n && text.endsWith('}\n'));
  }
  t.notOk(client.isClosed);
  await client.end();
});

void test('headers and a body may come in single bytes, the request line in one piece', async (t) => {
  const http = await ShadowHttp.start(t);
  const client = await RawClient.open(http.port);
  client.write(`POST ${SHADOW} HTTP/1.1\r\n`);
  for (const byte of `${HOST}Content-Length: ${BODY.length}\r\n\r\n${BODY}`) {
    client.write(byte);
    await new Promise(setImmediate);
  }
  await client.until((text) => text.endsWith('}\n'));
  t.match(client.received, /^HTTP\/1\.1 200 OK\r\n[^]*"version":1,/);
  client.write(`POST ${SHADOW} HTTP/1.1\r\n`);
  const chunks = Array.from(BODY, (byte) => `1\r\n${byte}\r\n`).join('');
  for (const byte of `${HOST}Transfer-Encoding: chunked\r\n\r\n${chunks}0\r\n\r\n`) {
    client.write(byte);
    await new Promise(setImmediate);
  }
  await client.until((text) => countOf(text, '200 OK') === 2 && text.endsWith('}\n'));
  t.match(client.received, '"version":2,');
  await client.end();
});

void test('a body in many pieces that splits characters arrives whole', async (t) => {
  const http = await ShadowHttp.start(t);
  const json = { state: { desired: { a: 'é€😀'.repeat(500) } } };
  const body = Buffer.from(JSON.stringify(json));
  const pieces = Array.from({ length: Math.ceil(body.length / 7) }, (_, n) => body.subarray(n * 7, n * 7 + 7));
  const reply = await http.send('POST', SHADOW, { body: pieces });
  t.equal(reply.status, 200);
  t.strictSame(reply.json['state'], json.state);
});

void test('a long answer reaches a client that reads slowly, byte for byte, and the connection serves on', async (t) => {
  const http = await ShadowHttp.start(t);
  http.api.document = documentOf(8_000_000);
  const expected = `${JSON.stringify(http.api.document)}\n`;
  const socket = connect({ port: http.port, host: '127.0.0.1' });
  t.teardown(() => socket.destroy());
  await once(socket, 'connect');
  for (let round = 0; round < 2; round++) {
    socket.write(`GET ${SHADOW} HTTP/1.1\r\n${HOST}\r\n`);
    let received = '';
    while (!received.endsWith('}\n')) {
      const [bytes] = (await once(socket, 'data')) as [Buffer];
      received += bytes.toString('latin1');
      socket.pause();
      await new Promise(setImmediate);
      socket.resume();
    }
    t.ok(received.slice(received.indexOf('\r\n\r\n') + 4) === expected, `${received.length} bytes`);
    t.equal(http.endpoint.underWay, 0);
  }
});

void test('a client that asks on and on and reads nothing is cut, and fills no memory', async (t) => {
  const http = await ShadowHttp.start(t);
  http.api.document = documentOf(200_000);
  const before = await rssBytes();
  const socket = connect({ port: http.port, host: '127.0.0.1' });
  socket.pause();
  await once(socket, 'connect');
  socket.on('error', () => socket.destroy());
  const requests = `GET ${SHADOW} HTTP/1.1\r\n${HOST}\r\n`;
  for (let n = 0; n < 5_000 && !socket.destroyed; n++) {
    socket.write(requests);
    await new Promise(setImmediate);
  }
  // It does not read, so that it does not see the end either; the server does.
  await until(() => http.endpoint.underWay === 0);
  t.ok(http.api.calls.length < 1_000, `${http.api.calls.length} requests were served`);
  t.ok((await rssBytes()) - before < 150_000_000, 'five thousand answers would be a gigabyte');
  socket.destroy();
  t.equal((await http.send('GET', '/things')).status, 200);
});

void test('a request that is sent before the answer to the one before cuts the connection, and both are over', async (t) => {
  const http = await ShadowHttp.start(t);
  let open = (): void => undefined;
  http.api.gate = new Promise((resolve) => (open = resolve));
  const client = await RawClient.open(http.port);
  client.write(`GET ${SHADOW} HTTP/1.1\r\n${HOST}\r\n`);
  await until(() => http.api.calls.length === 1);
  client.write(`GET ${SHADOW} HTTP/1.1\r\n${HOST}\r\n`);
  await client.closed();
  t.equal(client.received, '');
  t.equal(http.endpoint.underWay, 0);
  open();
  t.equal((await http.send('GET', '/things')).status, 200);
  t.match(await http.registry.metrics(), 'route="GET /things/{thing}/shadow",status="aborted"} 1');
});

void test('a client that goes away leaves nothing behind, and what it asked for is done', async (t) => {
  const http = await ShadowHttp.start(t);
  let open = (): void => undefined;
  http.api.gate = new Promise((resolve) => (open = resolve));
  const inBody = await RawClient.open(http.port);
  inBody.write(`POST ${SHADOW} HTTP/1.1\r\n${HOST}Content-Length: 1000\r\n\r\n{"state"`);
  const waiting = await RawClient.open(http.port);
  waiting.write(`POST ${SHADOW} HTTP/1.1\r\n${HOST}Content-Length: ${BODY.length}\r\n\r\n${BODY}`);
  await until(() => http.api.calls.length === 1 && http.endpoint.underWay === 2);
  await inBody.end();
  await waiting.end();
  await until(() => http.endpoint.underWay === 0);
  open();
  http.api.gate = undefined;
  t.match((await http.send('GET', SHADOW)).json, { version: 1 });
});

void test('the bytes of bodies that were never finished are given back', async (t) => {
  const http = await ShadowHttp.start(t);
  const most = 2 * 1024 * 1024;
  const before = http.api.calls.length;
  for (let n = 0; n < 40; n++) {
    const client = await RawClient.open(http.port);
    client.write(`POST ${SHADOW} HTTP/1.1\r\n${HOST}Content-Length: ${most}\r\n\r\n${'x'.repeat(most - 1)}`);
    await until(() => http.endpoint.underWay === 1 && client.socket.writableLength === 0);
    await client.end();
    await until(() => http.endpoint.underWay === 0);
  }
  t.equal(http.api.calls.length, before);
  t.equal((await http.send('POST', SHADOW, { body: BODY.padEnd(most) })).status, 200);
});

void test('a body that is declared too long is refused before it comes, and the answer is read', async (t) => {
  const http = await ShadowHttp.start(t, { maxBodyBytes: 10_000 });
  const client = await RawClient.open(http.port);
  client.write(`POST ${SHADOW} HTTP/1.1\r\n${HOST}Content-Length: 1000000\r\n\r\n`);
  await client.until((text) => text.endsWith('}\n'));
  t.match(client.received, /^HTTP\/1\.1 413 Content Too Large\r\n/);
  // What a client sends all the same is dropped, and the connection goes on.
  for (let n = 0; n < 100; n++) client.write('x'.repeat(10_000));
  client.write(`GET /things HTTP/1.1\r\n${HOST}\r\n`);
  await client.until((text) => text.includes('{"things":[]}'));
  t.match(client.received, '{"things":[]}');
  await client.end();
});

void test('a body in chunks without an end is cut soon after the limit, and fills no memory', async (t) => {
  const http = await ShadowHttp.start(t, { maxBodyBytes: 100_000 });
  const before = await rssBytes();
  const client = await RawClient.open(http.port);
  client.write(`POST ${SHADOW} HTTP/1.1\r\n${HOST}Transfer-Encoding: chunked\r\n\r\n`);
  const chunk = `2710\r\n${'x'.repeat(10_000)}\r\n`;
  let chunks = 0;
  for (; chunks < 10_000 && !client.isClosed; chunks++) {
    client.write(chunk);
    await new Promise(setImmediate);
  }
  await client.closed();
  t.ok(chunks < 5_000, `${chunks} chunks`);
  t.ok((await rssBytes()) - before < 100_000_000);
  t.equal(http.endpoint.underWay, 0);
  t.match(await http.registry.metrics(), 'status="413"} 1');
});

void test('bodies that are received at once share a budget: what goes over gets 503, and the rest is served', async (t) => {
  const limit = 2 * 1024 * 1024;
  const http = await ShadowHttp.start(t, { maxBodyBytes: limit });
  const start = `{"state":{"desired":{"a":1}}}`.padEnd(limit - 1);
  const clients: RawClient[] = [];
  for (let n = 0; n < 40; n++) {
    const client = await RawClient.open(http.port);
    clients.push(client);
    client.write(`POST /things/press-${n}/shadow HTTP/1.1\r\n${HOST}Content-Length: ${limit}\r\n\r\n`);
    client.write(start);
  }
  const refused = (): RawClient[] => clients.filter(({ received }) => received.startsWith('HTTP/1.1 503'));
  await until(() => refused().length >= 8);
  for (const client of clients) client.write(' ');
  const served = (): RawClient[] => clients.filter(({ received }) => received.startsWith('HTTP/1.1 200'));
  await until(() => refused().length + served().length === clients.length);
  t.ok(served().length >= 16, `${served().length} were served`);
  t.match(refused()[0]!.received, 'Retry-After: 1');
  for (const client of clients) await client.end();
  t.equal((await http.send('POST', SHADOW, { body: start })).status, 200, 'the budget is given back');
});

void test('stop answers what is under way, tells it to close, and lets nobody new in', async (t) => {
  const http = await ShadowHttp.start(t);
  let open = (): void => undefined;
  http.api.gate = new Promise((resolve) => (open = resolve));
  const client = new HttpClient(http.port);
  const kept = await RawClient.open(http.port);
  t.teardown(() => client.close());
  kept.write(`GET / HTTP/1.1\r\n${HOST}\r\n`);
  await kept.until((text) => text.endsWith('.\n'));
  const reply = http.through(client, { method: 'GET', path: '/things' });
  await until(() => http.endpoint.underWay === 1);
  let isStopped = false;
  const stopped = http.endpoint.stop().then(() => (isStopped = true));
  await t.rejects(RawClient.open(http.port), { code: 'ECONNREFUSED' });
  kept.write(`GET /things HTTP/1.1\r\n${HOST}\r\n`);
  await kept.until((text) => text.includes('HTTP/1.1 503') && text.endsWith('}\n'));
  t.match(kept.received, /HTTP\/1\.1 503 Service Unavailable\r\n[^]*Retry-After: 1\r\nConnection: close\r\n/);
  t.notOk(isStopped);
  open();
  t.equal((await reply).status, 200);
  t.equal((await reply).headers.connection, 'close');
  await stopped;
  t.equal(http.endpoint.underWay, 0);
  await kept.end();
});

void test('stop does not wait for ever: what is not answered is cut', async (t) => {
  const http = await ShadowHttp.start(t, { stopWithinMs: 50 });
  http.api.gate = new Promise(() => undefined);
  const client = await RawClient.open(http.port);
  client.write(`GET ${SHADOW} HTTP/1.1\r\n${HOST}\r\n`);
  await until(() => http.endpoint.underWay === 1);
  await http.endpoint.stop();
  await client.closed();
  t.equal(client.received, '');
  t.equal(http.endpoint.underWay, 0);
});

void test('a port that is taken is said loudly', async (t) => {
  const http = await ShadowHttp.start(t);
  const listen = { host: '127.0.0.1', port: http.port };
  await t.rejects(ShadowHttp.start(t, { listen }), { code: 'listen_failed' });
});
