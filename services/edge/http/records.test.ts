import { test, type Test } from 'tap';
import { Kind } from '../../../shared/batch.js';
import { deviceToken } from '../../../shared/token.js';
import { TestEdge } from '../../../test/support/edge.js';
import { HttpClient, RawClient } from '../../../test/support/http-client.js';
import { HttpDevice, recordsReply } from '../../../test/support/http-device.js';
import { until } from '../../../test/support/processes.js';

const SECRET = 'a secret of the tests';
const JSON_TYPE = { 'content-type': 'application/json' };

/** For the tests that need no keys; each has devices of its own. */
const common = await TestEdge.start();

/** An edge of the test's own. */
async function edgeFor(t: Test, keys: Readonly<Record<string, string>>): Promise<TestEdge> {
  const edge = await TestEdge.start(keys);
  t.teardown(() => edge.stop());
  return edge;
}

function deviceFor(t: Test, edge: TestEdge, id: string, token?: string): HttpDevice {
  const device = new HttpDevice(edge.port, id, token);
  t.teardown(() => device.close());
  return device;
}

function clientFor(t: Test, edge: TestEdge): HttpClient {
  const client = new HttpClient(edge.port);
  t.teardown(() => client.close());
  return client;
}

void test('one record, an array and NDJSON are acked with the highest seq, and stored byte for byte', async (t) => {
  const edge = common;
  const device = deviceFor(t, edge, 'press-1');
  t.match(await device.send({ seq: 1, time: 1_000, data: { temperature: 80.5 } }), { status: 200, ack: 1, errors: [] });
  const text = '[ {"seq":2,"data":1.50}, {"seq":3,"time":5,"report":{"valve":"open"}} ]';
  t.match(await device.post(text, 'application/json; charset=utf-8'), { status: 200, ack: 3 });
  const lines = '{"seq":4,"data":4.0}\r\n\n  {"seq":5,"result":{"id":"c-1","status":"SUCCEEDED"}}';
  t.match(await device.post(lines, 'application/x-ndjson'), { status: 200, ack: 5 });
  const stored = await edge.stored('press-1');
  t.strictSame(
    stored.map(({ deviceId, kind, seq, payload }) => [deviceId, kind, seq, payload]),
    [
      ['press-1', Kind.telemetry, 1, '{"temperature":80.5}'],
      ['press-1', Kind.telemetry, 2, '1.50'],
      ['press-1', Kind.report, 3, '{"valve":"open"}'],
      ['press-1', Kind.telemetry, 4, '4.0'],
      ['press-1', Kind.result, 5, '{"id":"c-1","status":"SUCCEEDED"}'],
    ],
    'and nothing of the edge’s own: a request is no presence',
  );
  t.strictSame([stored[0]!.timeMs, stored[2]!.timeMs], [1_000, 5]);
  t.equal(stored[1]!.timeMs, stored[1]!.receivedMs, 'without a time it is the edge’s');
});

void test('records in error are named by their index and seq, and the others are stored: 207', async (t) => {
  const edge = common;
  const device = deviceFor(t, edge, 'a-2');
  const reply = await device.send([
    { seq: 1, data: 1 },
    { seq: 1, data: 'again' },
    { seq: 2, time: -1, data: 2 },
    'no record',
    { seq: 3 },
    { get: 'shadow' },
    { data: 'without a seq' },
    { seq: 4, report: [] },
    { seq: 9, data: 9 },
  ]);
  t.match(reply, { status: 207, ack: 9 });
  t.strictSame(
    reply.errors.map(({ index, code, seq }) => [index, code, seq]),
    [
      [1, 'bad_seq', 1],
      [2, 'bad_time', 2],
      [3, 'bad_record', undefined],
      [4, 'bad_record', 3],
      [5, 'refused', undefined],
      [6, 'bad_seq', undefined],
      [7, 'bad_record', 4],
    ],
  );
  t.match(reply.errors[4]!.message, /WebSocket/);
  t.strictSame(await edge.storedSeqs('a-2'), [1, 9]);
  const lines = await device.post('{"seq":10,"data":1}\nno JSON\n{"seq":11,"data":"\xff"}', 'application/x-ndjson');
  t.match(lines, { status: 207, ack: 11, errors: [{ index: 1, code: 'bad_json' }] });
  const notUtf8 = Buffer.concat([
    Buffer.from('{"seq":12,"data":1}\n{"seq":13,"data":"'),
    Buffer.from([0xff, 0x22, 0x7d]),
  ]);
  t.match(await device.post(notUtf8, 'application/x-ndjson'), {
    status: 207,
    ack: 12,
    errors: [{ index: 1, code: 'bad_json' }],
  });
});

void test('where nothing can be stored it is 400, and says what is wrong', async (t) => {
  const edge = common;
  const device = deviceFor(t, edge, 'a-3');
  for (const [body, code] of [
    ['', 'bad_json'],
    ['{"seq":1,', 'bad_json'],
    ['[]', 'bad_record'],
    ['17', 'bad_record'],
    ['{"seq":0,"data":1}', 'bad_seq'],
    ['{"seq":1,"data":"\ud800"}', undefined],
    [`{"seq":2,"data":${'['.repeat(17)}${']'.repeat(17)}}`, 'bad_json'],
    [`{"seq":3,"data":"${'x'.repeat(65_536)}"}`, 'too_large'],
    ['{"get":"shadow"}', 'refused'],
  ] as const) {
    const reply = await device.post(body, 'application/json');
    if (code === undefined) t.equal(reply.status, 200, body);
    else t.match(reply, { status: 400, ack: 0, errors: [{ index: 0, code }] }, body.slice(0, 40));
  }
  t.match(await device.post('\n \r\n', 'application/x-ndjson'), {
    status: 400,
    ack: 0,
    errors: [{ code: 'bad_record' }],
  });
});

void test('a body with more than 1,000 records in error is not read on; what was good before is stored', async (t) => {
  const edge = common;
  const device = deviceFor(t, edge, 'a-4');
  const reply = await device.send([{ seq: 1, data: 1 }, ...Array<number>(5_000).fill(0), { seq: 2, data: 2 }]);
  t.match(reply, { status: 207, ack: 1 });
  t.equal(reply.errors.length, 1_002);
  t.match(reply.errors.at(-1), { code: 'bad_record', index: 1_002, message: /was not read/ });
});

void test('records without a seq get ones that no two requests share, and the clock for their time', async (t) => {
  const edge = common;
  const devices = Array.from({ length: 5 }, () => deviceFor(t, edge, 'counts-not'));
  const replies = await Promise.all(
    devices.flatMap((device, index) => [
      device.send([{ data: index }, { data: -index }]),
      device.sendLines([{ data: 'line' }]),
    ]),
  );
  const seqs = await edge.storedSeqs('counts-not');
  t.equal(seqs.length, 15);
  t.equal(new Set(seqs).size, 15);
  t.ok(seqs.every((seq) => Number.isSafeInteger(seq) && seq > Date.UTC(2020) * 1_000));
  t.strictSame(new Set(replies.map(({ status }) => status)), new Set([200]));
  for (const { ack } of replies) t.ok(seqs.includes(ack!), 'the ack names a seq that is stored');
  const mixed = await devices[0]!.send([{ data: 1 }, { seq: 5, data: 2 }, { data: 3, time: 'soon' }]);
  t.match(mixed, {
    status: 207,
    errors: [
      { index: 1, code: 'bad_seq' },
      { index: 2, code: 'bad_time' },
    ],
  });
  t.equal(mixed.errors[1]!.seq, undefined, 'a seq that the edge assigned is not told');
});

void test('a device must show its own token, and web pages of other sites are refused', async (t) => {
  const edge = await edgeFor(t, { EDGE_DEVICE_SECRET: SECRET, EDGE_ORIGINS: 'https://fine.example' });
  const record = { seq: 1, data: 1 };
  t.match(await deviceFor(t, edge, 'a', deviceToken(SECRET, 'a')).send(record), { status: 200, ack: 1 });
  const none = await deviceFor(t, edge, 'a').send(record);
  t.match(none, { status: 401, ack: undefined, errors: [{ code: 'no_credential' }] });
  t.equal(none.headers['www-authenticate'], 'Bearer');
  const others = await deviceFor(t, edge, 'a', deviceToken(SECRET, 'b')).send(record);
  t.match(others, { status: 403, errors: [{ code: 'credential' }] });
  t.match(await deviceFor(t, edge, '-a', 'x').send(record), { status: 400, errors: [{ code: 'bad_id' }] });
  const client = clientFor(t, edge);
  const headers = { ...JSON_TYPE, authorization: `Bearer ${deviceToken(SECRET, 'a')}` };
  const call = { method: 'POST', path: '/v1/devices/a/records', body: '{"seq":2,"data":2}' };
  const evil = await client.send({ ...call, headers: { ...headers, origin: 'https://evil.example' } });
  t.match(recordsReply(evil), { status: 403, errors: [{ code: 'origin' }] });
  const fine = await client.send({ ...call, headers: { ...headers, origin: 'https://fine.example' } });
  t.match(recordsReply(fine), { status: 200, ack: 2 });
  t.strictSame(await edge.storedSeqs('a'), [1, 2]);
});

void test('other methods, types, encodings and lengths are refused, each with its own status', async (t) => {
  const edge = await edgeFor(t, { EDGE_FRAME_LIMIT: '64KiB', EDGE_PAYLOAD_LIMIT: '32KiB' });
  const client = clientFor(t, edge);
  const path = '/v1/devices/a/records';
  const body = '{"seq":1,"data":1}';
  for (const method of ['GET', 'PUT', 'DELETE', 'OPTIONS']) {
    const reply = await client.send({ method, path });
    t.equal(reply.status, 405, method);
    t.equal(reply.headers.allow, 'POST');
  }
  const form = await client.send({ method: 'POST', path, body, headers: { 'content-type': 'text/plain' } });
  t.match(recordsReply(form), { status: 415, errors: [{ code: 'content_type', message: /curl/ }] });
  const gzip = await client.send({ method: 'POST', path, body, headers: { ...JSON_TYPE, 'content-encoding': 'gzip' } });
  t.match(recordsReply(gzip), { status: 415, errors: [{ code: 'content_encoding' }] });
  const latin = { 'content-type': 'application/json; charset=latin1' };
  t.equal((await client.send({ method: 'POST', path, body, headers: latin })).status, 415);
  const long = 'x'.repeat(65_537);
  t.match(recordsReply(await client.send({ method: 'POST', path, body: long })), {
    status: 413,
    errors: [{ code: 'too_large' }],
  });
  const pieces = Array<string>(9).fill('x'.repeat(8_192));
  t.equal((await client.send({ method: 'POST', path, body: pieces })).status, 413, 'in chunks too');
  t.equal((await client.send({ method: 'POST', path: '/v1/devices/a/record', body })).status, 426);
  t.equal((await client.send({ method: 'POST', path: '/v1/records', body })).status, 404);
  t.match(
    recordsReply(await client.send({ method: 'POST', path, body })),
    { status: 200 },
    'without a type it is JSON',
  );
  t.strictSame(await edge.storedSeqs('a'), [1]);
});

void test('a body in many pieces is put together, in bytes too', async (t) => {
  const edge = common;
  const device = deviceFor(t, edge, 'a-8');
  const data = 'é'.repeat(20_000);
  const whole = Buffer.from(
    JSON.stringify([
      { seq: 1, data },
      { seq: 2, data: 2 },
    ]),
  );
  const pieces = Array.from({ length: Math.ceil(whole.length / 777) }, (_, at) =>
    whole.subarray(777 * at, 777 * (at + 1)),
  );
  t.match(await device.post(pieces, 'application/json'), { status: 200, ack: 2 });
  t.equal((await edge.stored(device.id))[0]!.payload, JSON.stringify(data));
});

void test('over the request rate it is 429 with Retry-After, and the connection stays', async (t) => {
  const edge = await edgeFor(t, { EDGE_REQUEST_RATE: '2', EDGE_RETRY_AFTER: '10s' });
  const device = deviceFor(t, edge, 'a');
  const replies = [];
  for (let seq = 1; seq <= 4; seq++) replies.push(await device.send({ seq, data: seq }));
  const late = replies.find(({ status }) => status === 429)!;
  t.match(late.errors, [{ code: 'request_rate' }]);
  const seconds = Number(late.headers['retry-after']);
  t.ok(seconds >= 5 && seconds <= 15, `${seconds} s`);
  t.strictSame(
    await edge.storedSeqs('a'),
    replies.flatMap(({ status, ack }) => (status === 200 ? [ack!] : [])),
  );
});

void test('records over the window are named with 429, and those before them are stored', async (t) => {
  const edge = await edgeFor(t, { EDGE_FRAME_LIMIT: '8KiB', EDGE_PAYLOAD_LIMIT: '4KiB', EDGE_WINDOW: '8KiB' });
  const device = deviceFor(t, edge, 'a');
  const records = Array.from({ length: 300 }, (_, index) => ({ seq: index + 1, data: 1 }));
  const reply = await device.send(records);
  t.equal(reply.status, 429);
  t.match(reply.headers['retry-after'], /^[1-9]/);
  const [problem] = reply.errors;
  t.match(problem, { code: 'window', index: reply.ack });
  t.strictSame(
    await edge.storedSeqs('a'),
    records.slice(0, reply.ack).map(({ seq }) => seq),
  );
  t.ok(reply.ack! > 100);
  const rest = records.slice(problem!.index);
  t.match(await device.send(rest.slice(0, 50)), { status: 200, ack: rest[49]!.seq }, 'and it goes on from there');
});

void test('a queue at its quota is 503 with Retry-After, and nothing that it refused is stored or acked', async (t) => {
  const edge = await edgeFor(t, { EDGE_QUOTA: '1MiB' });
  const device = deviceFor(t, edge, 'a');
  const data = 'x'.repeat(60_000);
  let seq = 0;
  let reply = await device.send({ seq: ++seq, data });
  while (reply.status === 200)
    reply = await device.send([
      { seq: ++seq, data },
      { seq: ++seq, data },
    ]);
  t.match(reply, { status: 503, ack: 0, errors: [{ code: 'queue', index: 0 }] });
  t.match(reply.headers['retry-after'], /^[1-9]/);
  t.strictSame((await edge.storedSeqs('a')).at(-1), seq - 2);
});

void test('bodies that are received together take no more memory than they may', async (t) => {
  const edge = await edgeFor(t, { EDGE_MEMORY: '1MiB', EDGE_WINDOW: '512KiB', EDGE_FRAME_LIMIT: '512KiB' });
  const head =
    'POST /v1/devices/a/records HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 500000\r\n\r\n';
  const clients = await Promise.all(Array.from({ length: 5 }, () => RawClient.open(edge.port)));
  for (const client of clients) {
    client.write(head);
    client.write('x'.repeat(400_000));
  }
  await until(() => clients.some(({ received }) => received.startsWith('HTTP/1.1 503')));
  await Promise.all(clients.map((client) => client.end()));
  await until(async () => (await edge.process.metric('holdfast_http_requests_total{status="aborted"')) > 0);
  t.match(
    await deviceFor(t, edge, 'a').send({ seq: 1, data: 'x'.repeat(60_000) }),
    { status: 200 },
    'it is given back',
  );
});

void test('a request whose client goes away is done all the same, or not at all', async (t) => {
  const edge = common;
  const body = '{"seq":1,"data":1}';
  const head = 'POST /v1/devices/gone/records HTTP/1.1\r\nHost: a\r\nContent-Length:';
  const whole = await RawClient.open(edge.port);
  whole.socket.end(`${head} ${body.length}\r\n\r\n${body}`);
  await until(async () => (await edge.storedSeqs('gone')).length === 1);
  await whole.end();
  const half = await RawClient.open(edge.port);
  half.write(`${head} 1000\r\n\r\n[${body}`);
  half.socket.destroy();
  await half.closed();
  t.match(await deviceFor(t, edge, 'gone').send({ seq: 2, data: 2 }), { status: 200 });
  t.strictSame(await edge.storedSeqs('gone'), [1, 2]);
});

void test('a request neither takes over a WebSocket session nor is one', async (t) => {
  const edge = common;
  const socket = await edge.connect('both');
  const device = deviceFor(t, edge, 'both');
  socket.send({ seq: 7, data: 'socket' });
  await socket.untilAcked(7);
  t.match(await device.send({ seq: 1, data: 'request' }), { status: 200, ack: 1 });
  socket.send({ seq: 8, data: 'socket' });
  await socket.untilAcked(8);
  t.strictSame(await edge.storedSeqs('both'), [7, 1, 8]);
  await socket.close();
});

void test('ThingsBoard’s telemetry and attributes are records, with the id before the token', async (t) => {
  const edge = await edgeFor(t, { EDGE_DEVICE_SECRET: SECRET });
  const client = clientFor(t, edge);
  const id = 'hall.1:press';
  const post = async (what: string, json: unknown, token = deviceToken(SECRET, id)) =>
    recordsReply(await client.send({ method: 'POST', path: `/api/v1/${id}.${token}/${what}`, json }));
  t.match(await post('telemetry', { temperature: 80.5 }), { status: 200 });
  t.match(await post('telemetry', { ts: 1_732_112_345_678, values: { temperature: 81 } }), { status: 200 });
  t.match(await post('telemetry', [{ a: 1 }, { ts: 5, values: { b: 2 } }]), { status: 200 });
  t.match(await post('attributes', { valve: 'open' }), { status: 200 });
  t.match(await post('telemetry', [{ ts: -1, values: {} }, { ts: 1, values: 2 }, 3, { ok: true }]), {
    status: 207,
    errors: [
      { index: 0, code: 'bad_time' },
      { index: 1, code: 'bad_record' },
      { index: 2, code: 'bad_record' },
    ],
  });
  t.match(await post('attributes', { list: [null] }), { status: 400, errors: [{ code: 'bad_record' }] });
  t.match(await post('telemetry', { a: 1 }, 'x'.repeat(43)), { status: 403 });
  const bare = await client.send({ method: 'POST', path: '/api/v1/press/telemetry', json: { a: 1 } });
  t.match(recordsReply(bare), { status: 401, errors: [{ message: /\{id\}\.\{token\}/ }] });
  t.equal((await client.send({ method: 'POST', path: `/api/v1/${id}.x/rpc`, json: {} })).status, 404);
  const stored = await edge.stored(id);
  t.strictSame(
    stored.map(({ kind, timeMs, receivedMs, payload }) => [kind, timeMs === receivedMs ? 0 : timeMs, payload]),
    [
      [Kind.telemetry, 0, '{"temperature":80.5}'],
      [Kind.telemetry, 1_732_112_345_678, '{"temperature":81}'],
      [Kind.telemetry, 0, '{"a":1}'],
      [Kind.telemetry, 5, '{"b":2}'],
      [Kind.report, 0, '{"valve":"open"}'],
      [Kind.telemetry, 0, '{"ok":true}'],
    ],
  );
  t.equal(new Set(stored.map(({ seq }) => seq)).size, stored.length);
  t.notMatch(edge.process.output, deviceToken(SECRET, id), 'the token in the URL is not logged');
});

void test('a request that does not wait for the answer before it ends its connection, and no other', async (t) => {
  const client = await RawClient.open(common.port);
  const body = '{"seq":1,"data":1}';
  const request = `POST /v1/devices/hasty/records HTTP/1.1\r\nHost: a\r\nContent-Length: ${body.length}\r\n\r\n${body}`;
  client.write(request + request);
  await client.closed();
  t.match(await deviceFor(t, common, 'patient').send({ seq: 1, data: 1 }), { status: 200 });
});

void test('a stopping edge answers what it took, and every answered record is in the queue', async (t) => {
  const edge = common;
  const device = new HttpDevice(edge.port, 'until-the-end', undefined, 8);
  let acked = 0;
  let stopped = false;
  const senders = Array.from({ length: 8 }, async (_, sender) => {
    for (let count = 0; !stopped; count++) {
      const reply = await device.send({ seq: 1 + sender + 8 * count, data: count }).catch(() => undefined);
      if (reply?.status === 200) acked++;
      else stopped = true;
    }
  });
  await until(() => acked > 100);
  t.equal(await edge.process.end(), 0);
  stopped = true;
  await Promise.all(senders);
  device.close();
  const seqs = await edge.storedSeqs('until-the-end');
  t.ok(seqs.length >= acked && seqs.length <= acked + 8, `${seqs.length} stored, ${acked} acked`);
  t.equal(new Set(seqs).size, seqs.length);
  await edge.stop();
});
