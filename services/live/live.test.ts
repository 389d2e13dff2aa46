import { once } from 'node:events';
import type { IncomingMessage } from 'node:http';
import { get } from 'node:http';
import fc from 'fast-check';
import { test, type Test } from 'tap';
import { WebSocket, type ClientOptions } from 'ws';
import { Kind } from '../../shared/batch.js';
import { BATCH_TOPIC } from '../../shared/consumer-frames.js';
import { Session } from '../../shared/database.js';
import { TIME_MS, TestLive, type LiveClient } from '../../test/support/live.js';
import { TestPostgres, freePort } from '../../test/support/postgres.js';
import { readLiveConfig } from './config.js';

async function setUp(
  t: Test,
  keys: Readonly<Record<string, string>> = {},
): Promise<{ live: TestLive; probe: LiveClient }> {
  const live = await TestLive.start(keys);
  t.teardown(() => live.stop());
  const protocols = keys['LIVE_API_TOKEN'] === undefined ? [] : ['holdfast.v1.live', `token.${keys['LIVE_API_TOKEN']}`];
  const probe = await live.connect(protocols);
  await probe.say({ subscribe: '*' });
  return { live, probe };
}

/** The records of a client without the marks at the ends of deliveries. */
function got(client: LiveClient): string[] {
  return client.records.filter((record) => !record.startsWith('end:'));
}

async function refusedWith(url: string, protocols: readonly string[], options: ClientOptions): Promise<number> {
  const socket = new WebSocket(url, [...protocols], options);
  const [request, response] = (await once(socket, 'unexpected-response')) as [{ destroy(): void }, IncomingMessage];
  request.destroy();
  return response.statusCode ?? 0;
}

void test("a message has the device, time, seq and context, and the payload's own bytes", async (t) => {
  const { live, probe } = await setUp(t);
  const payload = '{"b": 1.50, "a":"\\u00fc", "b":2}';
  await live.deliver([{ device: 'press-1', seq: 7, payload }], probe);
  t.equal(probe.texts[0], `{"device":"press-1","time":${TIME_MS},"seq":7,"data":${payload},"type":null,"site":null}`);
});

void test('a client gets what it has subscribed, from when to when it has', async (t) => {
  const { live, probe } = await setUp(t);
  const client = await live.connect();
  await live.deliver([{ device: 'a', seq: 1 }], probe);
  await client.say({ subscribe: { devices: ['a', 'b'] } });
  await live.deliver(
    [
      { device: 'a', seq: 2 },
      { device: 'b', seq: 2 },
      { device: 'c', seq: 2 },
    ],
    probe,
  );
  await client.say({ unsubscribe: { devices: ['a', 'never'] } });
  await live.deliver(
    [
      { device: 'a', seq: 3 },
      { device: 'b', seq: 3 },
    ],
    probe,
  );
  await client.say({ subscribe: { sites: ['*'] } });
  await live.deliver(
    [
      { device: 'c', seq: 4 },
      { device: 'b', seq: 4 },
    ],
    probe,
  );
  await client.say({ unsubscribe: '*' });
  await live.deliver(
    [
      { device: 'a', seq: 5 },
      { device: 'b', seq: 5 },
    ],
    probe,
  );
  t.same(got(client), ['a:2', 'b:2', 'b:3', 'c:4', 'b:4']);
  t.same(got(probe).length, 10);
});

void test('only telemetry goes out', async (t) => {
  const { live, probe } = await setUp(t);
  const kinds = [Kind.report, Kind.telemetry, Kind.result, Kind.online, Kind.offline];
  await live.deliver(
    kinds.map((kind, index) => ({ device: 'a', seq: index + 1, kind })),
    probe,
  );
  t.same(got(probe), ['a:2']);
});

void test('types and sites come from the table devices, and a record that matches twice goes out once', async (t) => {
  const postgres = await TestPostgres.start();
  t.teardown(() => postgres.stop());
  const session = await Session.open(postgres.url, 'test');
  await session.client.query('create table devices (device_id text primary key, type text, site text)');
  await session.client.query(
    `insert into devices values ('a', 'press', 'hamburg'), ('b', 'press', 'ulm "2"'), ('c', 'saw', 'ulm "2"')`,
  );
  const { live, probe } = await setUp(t, { LIVE_DATABASE_URL: postgres.url });
  const presses = await live.connect();
  await presses.say({ subscribe: { types: ['press'] } });
  const ulm = await live.connect();
  await ulm.say({ subscribe: { sites: ['ulm "2"'] } });
  const union = await live.connect();
  await union.say({ subscribe: { devices: ['b', 'd'], types: ['press'], sites: ['ulm "2"'] } });
  const everything = await live.connect();
  await everything.say({ subscribe: { devices: ['*', 'a'], types: ['press'] } });
  const records = ['a', 'b', 'c', 'd'].map((device) => ({ device, seq: 1 }));
  await live.deliver(records, probe);
  t.same(got(presses), ['a:1', 'b:1']);
  t.same(got(ulm), ['b:1', 'c:1']);
  t.same(got(union), ['a:1', 'b:1', 'c:1', 'd:1']);
  t.same(got(everything), ['a:1', 'b:1', 'c:1', 'd:1']);
  t.match(ulm.messages[0], { device: 'b', type: 'press', site: 'ulm "2"' });
  t.match(union.messages[3], { device: 'd', type: null, site: null });

  // The database goes away: what is cached serves on, what is new goes out without context.
  await session.close();
  await postgres.kill();
  await live.deliver(
    [
      { device: 'a', seq: 2 },
      { device: 'e', seq: 2 },
    ],
    probe,
  );
  t.same(got(probe).slice(-2), ['a:2', 'e:2']);
});

void test('a database that was never there costs messages their context and nothing else', async (t) => {
  const port = await freePort();
  const { live, probe } = await setUp(t, { LIVE_DATABASE_URL: `postgres://holdfast@127.0.0.1:${port}/holdfast` });
  for (let seq = 1; seq <= 5; seq++) await live.deliver([{ device: 'a', seq }], probe);
  t.same(got(probe), ['a:1', 'a:2', 'a:3', 'a:4', 'a:5']);
  t.match(probe.messages[0], { type: null, site: null });
});

void test('a payload that is not JSON in UTF-8 is never put into a message, and is counted', async (t) => {
  const { live, probe } = await setUp(t);
  const bad = ['', '{', '{"a":1}}', '{"a":1},"seq":99,"x":{}', 'nonsense', '\u0000', Buffer.from([0x22, 0xff, 0x22])];
  const records = bad.map((payload, index) => ({ device: 'bad', seq: index + 1, payload }));
  await live.deliver([{ device: 'good', seq: 1 }, ...records, { device: 'good', seq: 2 }], probe);
  t.same(got(probe), ['good:1', 'good:2']);
  t.equal(await live.metric('holdfast_skipped_records_total'), bad.length);
});

void test('a slow client loses messages, is told exactly how many, and slows nobody', async (t) => {
  const { live, probe } = await setUp(t, { LIVE_CLIENT_BUFFER: '64KiB' });
  const slow = await live.connect();
  await slow.say({ subscribe: '*' });
  slow.socket.pause();
  const payload = JSON.stringify('x'.repeat(20_000));
  let seq = 0;
  const deliver = async (batches: number): Promise<void> => {
    for (let batch = 0; batch < batches; batch++) {
      const records = Array.from({ length: 10 }, () => ({ device: 'a', seq: ++seq, payload }));
      await live.deliver(records, probe);
    }
  };
  // Far more than what the kernel's buffers of both ends take.
  await deliver(150);
  t.equal(got(probe).length, 1500, 'the others got all of it');
  t.ok((await live.metric('holdfast_dropped_total')) > 0, 'the slow one lost some');
  slow.socket.resume();
  await once(slow.socket, 'message');
  await slow.settle();
  const told = slow.messages.filter((message) => 'dropped' in message).map(({ dropped }) => dropped as number);
  await deliver(2);
  const sent = probe.records.length;
  const dropped = slow.messages.reduce((sum, message) => sum + ((message['dropped'] as number | undefined) ?? 0), 0);
  t.ok(told.length > 0, 'it was told before the next message came');
  t.equal(slow.records.length + dropped, sent, 'what came and what was lost is all there was');
  t.equal(dropped, await live.metric('holdfast_dropped_total'));
  t.same(got(slow).slice(-20), got(probe).slice(-20), 'it gets everything again');
  t.same(
    slow.records,
    probe.records.filter((record) => slow.records.includes(record)),
    'in order',
  );
});

void test('bad messages are answered with an error and change nothing', async (t) => {
  const { live, probe } = await setUp(t, { LIVE_MAX_SUBSCRIPTIONS: '3' });
  const client = await live.connect();
  await client.say({ subscribe: { devices: ['a'] } });
  const cases: [string, unknown][] = [
    ['bad_json', 'subscribe'],
    ['bad_json', ''],
    ['bad_message', []],
    ['bad_message', null],
    ['bad_message', 5],
    ['bad_message', {}],
    ['bad_message', { subscribe: 'a' }],
    ['bad_message', { subscribe: null }],
    ['bad_message', { subscribe: ['a'] }],
    ['bad_message', { subscribe: { devices: 'a' } }],
    ['bad_message', { subscribe: { devices: [1] } }],
    ['bad_message', { subscribe: { devices: [''] } }],
    ['bad_message', { subscribe: { devices: ['x'.repeat(257)] } }],
    ['bad_message', { subscribe: { device: ['a'] } }],
    ['bad_message', { subscribe: {}, unsubscribe: {} }],
    ['bad_message', { hello: {} }],
    ['bad_message', '{"__proto__":{"devices":["b"]}}'],
    ['too_many', { subscribe: { devices: ['b', 'c'], types: ['d'] } }],
  ];
  for (const [code, message] of cases) {
    await client.say(message);
    const answer = client.messages.at(-1) as { error: { code: string; message: string } };
    t.equal(answer.error.code, code, JSON.stringify(message));
    t.type(answer.error.message, 'string');
  }
  t.equal(client.messages.length, cases.length);
  await live.deliver(
    [
      { device: 'b', seq: 1 },
      { device: 'a', seq: 1 },
    ],
    probe,
  );
  t.same(got(client), ['a:1']);
  await client.say({ subscribe: { devices: ['a', 'a', 'b', 'c'] } });
  t.equal(client.messages.length, cases.length + 1, 'three are allowed, each counted once');
});

void test('a message over the limit ends the connection of the client that sent it', async (t) => {
  const { live, probe } = await setUp(t);
  const client = await live.connect();
  client.socket.on('error', () => undefined);
  client.socket.send('x'.repeat(70_000));
  await once(client.socket, 'close');
  await live.deliver([{ device: 'a', seq: 1 }], probe);
  t.same(got(probe), ['a:1']);
});

void test('whatever a client says, live goes on and the others are served', async (t) => {
  const { live, probe } = await setUp(t);
  const name = fc.oneof(fc.constantFrom('*', 'a', 'b'), fc.string(), fc.jsonValue());
  const likely = fc.dictionary(
    fc.constantFrom('subscribe', 'unsubscribe', 'x'),
    fc.oneof(
      fc.constant('*'),
      fc.jsonValue(),
      fc.dictionary(fc.constantFrom('devices', 'types', 'sites', 'y'), fc.oneof(fc.array(name), fc.jsonValue())),
    ),
    { maxKeys: 2 },
  );
  const message = fc.oneof(
    fc.uint8Array({ maxLength: 200 }),
    fc.string(),
    likely.map((value) => JSON.stringify(value)),
  );
  await fc.assert(
    fc.asyncProperty(fc.array(message, { maxLength: 20 }), fc.boolean(), async (messages, binary) => {
      const client = await live.connect();
      for (const one of messages) client.socket.send(typeof one === 'string' ? one : Buffer.from(one), { binary });
      // Text that is not UTF-8 ends the connection, and that is all it does.
      await Promise.race([client.settle(), once(client.socket, 'close')]);
      await client.close();
    }),
    { numRuns: 100 },
  );
  await live.deliver([{ device: 'a', seq: 1 }], probe);
  t.same(got(probe), ['a:1']);
  t.equal(live.live.endpoint.clients, 1);
});

void test('what the router says that makes no sense is passed over', async (t) => {
  const { live, probe } = await setUp(t);
  await live.publisher.send([BATCH_TOPIC, Buffer.alloc(32), Buffer.from('nonsense')]);
  await live.publisher.send([BATCH_TOPIC]);
  await live.publisher.send(['head', Buffer.alloc(3)]);
  await live.deliver([{ device: 'a', seq: 1 }], probe);
  t.same(got(probe), ['a:1']);
  t.equal(live.live.subscription.malformed, 3);
});

void test('batches that were published and did not arrive are counted', async (t) => {
  const { live, probe } = await setUp(t);
  await live.deliver([{ device: 'a', seq: 1 }], probe);
  live.lose(3);
  await live.deliver([{ device: 'a', seq: 2 }], probe);
  t.equal(await live.metric('holdfast_lost_batches_total'), 3);
  live.lose(2);
  await live.publishHead();
  await live.publishHead();
  await live.deliver([{ device: 'a', seq: 3 }], probe);
  t.equal(await live.metric('holdfast_lost_batches_total'), 5, 'a gap at the tail shows by the head');
  live.epoch = 2;
  live.lose(7);
  await live.deliver([{ device: 'a', seq: 4 }], probe);
  t.equal(await live.metric('holdfast_lost_batches_total'), 5, 'a router opened anew is no gap');
});

void test('pages whose Origin is not on the list get 403', async (t) => {
  const { live } = await setUp(t, { LIVE_ORIGINS: 'https://console.example' });
  t.equal(await refusedWith(live.url, [], { origin: 'https://evil.example' }), 403);
  t.equal(await refusedWith(live.url, [], { origin: 'null' }), 403);
  const client = await live.connect([], { origin: 'https://console.example' });
  t.equal(client.socket.readyState, WebSocket.OPEN);
  const closed = await setUp(t);
  t.equal(await refusedWith(closed.live.url, [], { origin: 'https://console.example' }), 403, 'the list is empty');
});

void test('with a token set, only who shows it is let in: as a header or beside the subprotocol', async (t) => {
  const token = 'sixteen-or-more-characters';
  const { live } = await setUp(t, { LIVE_API_TOKEN: token });
  const bearer = (value: string): ClientOptions => ({ headers: { authorization: `Bearer ${value}` } });
  t.equal(await refusedWith(live.url, [], {}), 401);
  t.equal(await refusedWith(live.url, ['holdfast.v1.live'], {}), 401);
  t.equal(await refusedWith(live.url, [], bearer('wrong')), 403);
  t.equal(await refusedWith(live.url, ['holdfast.v1.live', 'token.wrong'], {}), 403);
  t.equal(await refusedWith(live.url, [`token.${token}`], {}), 400, 'there is nothing to answer with');
  t.equal((await live.connect([], bearer(token))).socket.protocol, '');
  t.equal((await live.connect([`token.${token}`, 'holdfast.v1.live'])).socket.protocol, 'holdfast.v1.live');
});

void test('no more clients than the limit are let in, and a place that is free again is given', async (t) => {
  const { live } = await setUp(t, { LIVE_MAX_CLIENTS: '2' });
  const second = await live.connect();
  t.equal(await refusedWith(live.url, [], {}), 503);
  t.equal(await live.metric('holdfast_clients'), 2);
  await second.close();
  while (live.live.endpoint.clients > 1) await new Promise(setImmediate);
  await live.connect();
});

void test('without a token live refuses to listen where others can reach it', (t) => {
  for (const host of ['0.0.0.0', '[::]', '192.168.1.5', 'example.com']) {
    const exposed = { LIVE_LISTEN: `${host}:7340` };
    t.throws(() => readLiveConfig(exposed), { code: 'bad_config', message: /LIVE_API_TOKEN/ }, host);
    t.equal(readLiveConfig({ ...exposed, LIVE_API_TOKEN: 'sixteen-or-more-characters' }).listen.port, 7340);
  }
  for (const host of ['127.0.0.1', 'localhost', '[::1]']) {
    t.equal(readLiveConfig({ LIVE_LISTEN: `${host}:7340` }).listen.port, 7340);
  }
  t.end();
});

void test('a GET of / says what this is', async (t) => {
  const { live } = await setUp(t);
  for (const [path, status] of [
    ['/', 200],
    ['/other', 404],
  ] as const) {
    const request = get({ host: '127.0.0.1', port: live.live.endpoint.port, path, agent: false });
    const [response] = (await once(request, 'response')) as [IncomingMessage];
    t.equal(response.statusCode, status);
    t.match(String((await response.toArray())[0]), '/v1/live');
  }
});
