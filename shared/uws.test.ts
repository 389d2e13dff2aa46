import { get } from 'node:http';
import { once } from 'node:events';
import type { IncomingMessage } from 'node:http';
import { test } from 'tap';
import { WebSocket } from 'ws';
import { App, dataOf, listen, protectLongMessages } from './uws.js';

const HOST = '127.0.0.1';

void test('an app listens on a port of its own and serves there', async (t) => {
  const app = App();
  app.get('/', (response) => {
    response.end('here', true);
  });
  const listener = await listen(app, { host: HOST, port: 0 });
  t.ok(listener.port > 0);
  const [response] = (await once(get({ host: HOST, port: listener.port, agent: false }), 'response')) as [
    IncomingMessage,
  ];
  t.equal(response.statusCode, 200);
  response.resume();
  await once(response, 'end');
  listener.close();
  listener.close();
});

void test('a second listener on the same port fails loudly, and gets the port once the first is closed', async (t) => {
  const first = await listen(App(), { host: HOST, port: 0 });
  const address = { host: HOST, port: first.port };
  await t.rejects(listen(App(), address), { code: 'listen_failed', message: /cannot listen on 127\.0\.0\.1:/ });
  first.close();
  const second = await listen(App(), address);
  second.close();
});

void test("a host that is not this machine's fails loudly", async (t) => {
  await t.rejects(listen(App(), { host: '192.0.2.1', port: 0 }), { code: 'listen_failed' });
});

void test('the user data of a socket can be read from the socket itself, in every callback', async (t) => {
  const app = App();
  const connection = { name: 'a' };
  const seen: unknown[] = [];
  let told: () => void = () => undefined;
  const all = new Promise<void>((resolve) => (told = resolve));
  app.ws<{ connection: object }>('/', {
    upgrade: (response, request, context) =>
      response.upgrade({ connection }, request.getHeader('sec-websocket-key'), '', '', context),
    open: (socket) => void seen.push(dataOf(socket).connection, socket.getUserData().connection),
    message: (socket) => void seen.push(dataOf(socket).connection),
    close: (socket) => {
      seen.push(dataOf(socket).connection);
      told();
    },
  });
  const listener = await listen(app, { host: HOST, port: 0 });
  t.teardown(() => listener.close());
  const client = new WebSocket(`ws://${HOST}:${listener.port}`);
  await once(client, 'open');
  client.send('x');
  client.close();
  await all;
  t.equal(seen.length, 4);
  t.ok(seen.every((one) => one === connection));
});

void test('long messages to a client that reads slowly arrive whole, on a socket that is protected', async (t) => {
  const app = App();
  const count = 400;
  const message = Buffer.from('x'.repeat(40_000));
  app.ws<Record<string, never>>('/', {
    maxBackpressure: 64 * 1024 * 1024,
    open: (socket) => {
      protectLongMessages(socket);
      for (let i = 0; i < count; i++) socket.send(message);
    },
  });
  const listener = await listen(app, { host: HOST, port: 0 });
  t.teardown(() => listener.close());
  const client = new WebSocket(`ws://${HOST}:${listener.port}`);
  t.teardown(() => client.terminate());
  let got = 0;
  let whole = 0;
  const all = new Promise<void>((resolve, reject) => {
    client.on('error', reject);
    client.on('message', (data: Buffer) => {
      if (data.equals(message)) whole++;
      if (++got === count) resolve();
    });
  });
  await once(client, 'open');
  // Both run in this process: the server has sent all it could before the client reads a byte.
  await all;
  t.equal(whole, count);
});
