import { test } from 'tap';
import { deviceToken } from '../../shared/token.js';
import {
  ask,
  BINARY_PROTOCOL,
  DeviceSocket,
  JSON_PROTOCOL,
  UPGRADE_HEADERS,
  type HttpAnswer,
} from '../../test/support/device-socket.js';
import { TestEdge } from '../../test/support/edge.js';
import { until } from '../../test/support/processes.js';

const SECRET = 'a secret of the fleet';
const ORIGIN = 'https://console.example';
const LONGEST_ID = `d${'.'.repeat(127)}`;

const edge = await TestEdge.start({ EDGE_DEVICE_SECRET: SECRET, EDGE_ORIGINS: `https://other.example, ${ORIGIN}` });

function bearer(deviceId: string, of = deviceId): Record<string, string> {
  return { Authorization: `Bearer ${deviceToken(SECRET, of)}` };
}

async function upgrade(id: string, headers: Readonly<Record<string, string>>, port = edge.port): Promise<HttpAnswer> {
  return ask(port, `/v1/devices/${id}`, { ...UPGRADE_HEADERS, ...headers });
}

void test('an id that is none is 400, before anything else is looked at', async (t) => {
  const ids = [
    '',
    '.press',
    '-press',
    '_press',
    'press/1',
    'press%2F1',
    'press%201',
    'press%00',
    'press%0a',
    'press~1',
    '%zz',
    '%',
    '%ff',
    '%C3%BC',
    'press%E2%82%AC',
    'p'.repeat(129),
    '%41'.repeat(129),
    '%2e%2e',
  ];
  for (const id of ids) {
    const { status, body } = await upgrade(id, { Origin: 'https://evil.example' });
    t.equal(status, 400, id);
    t.match(body, /a device id matches \^\[A-Za-z0-9\]/);
  }
});

void test('every id of the pattern is let in, percent-encoded too', async (t) => {
  for (const [written, id] of [
    ['a', 'a'],
    ['Press-1.A_b:c', 'Press-1.A_b:c'],
    ['%41%62%3a1', 'Ab:1'],
    [LONGEST_ID, LONGEST_ID],
    ['with-query?token=ignored', 'with-query'],
  ] as const) {
    const device = await DeviceSocket.open(edge.port, written, { headers: bearer(id) });
    t.match(device.replies, [{ type: 'hello', device: id }]);
    await device.close();
  }
});

void test('without a credential it is 401, and WWW-Authenticate says which', async (t) => {
  for (const headers of [{}, { Authorization: 'Basic YTpi' }, { Authorization: 'Bearer' }, { Authorization: '' }]) {
    const { status, headers: answered, body } = await upgrade('press-1', headers);
    t.equal(status, 401);
    t.equal(answered['www-authenticate'], 'Bearer');
    t.match(body, /Authorization: Bearer <token>/);
  }
});

void test("another device's token, a cut one or any other text is 403", async (t) => {
  const own = deviceToken(SECRET, 'press-1');
  const wrong = [deviceToken(SECRET, 'press-2'), deviceToken('another secret....', 'press-1'), own.slice(1), `${own}A`];
  for (const token of [...wrong, 'x', own.toUpperCase()]) {
    const { status, body } = await upgrade('press-1', { Authorization: `Bearer ${token}` });
    t.equal(status, 403);
    t.match(body, /not that of device press-1/);
    t.notMatch(body, token, 'a credential is not repeated');
  }
});

void test('the token is taken from the header, or from a second subprotocol', async (t) => {
  const token = deviceToken(SECRET, 'press-1');
  const byHeader = await edge.connect('press-1', { headers: { Authorization: `bearer ${token}` } });
  t.equal(byHeader.protocol, '');
  await byHeader.close();
  for (const protocol of [JSON_PROTOCOL, BINARY_PROTOCOL]) {
    const offered = [protocol, `token.${token}`];
    for (const protocols of [offered, [...offered].reverse()]) {
      const device = await edge.connect('press-1', { protocols });
      t.equal(device.protocol, protocol, 'the answer is the protocol, never the token');
      await device.close();
    }
  }
  t.equal((await upgrade('press-1', { 'Sec-WebSocket-Protocol': `${JSON_PROTOCOL}, token.wrong` })).status, 403);
});

void test('a subprotocol that is not known is 400; a known one among others is taken', async (t) => {
  const headers = bearer('press-1');
  for (const offered of ['mqtt', 'holdfast.v2.json', 'constructor', '__proto__', 'toString', 'HOLDFAST.V1.JSON', ',']) {
    const { status, body } = await upgrade('press-1', { ...headers, 'Sec-WebSocket-Protocol': offered });
    t.equal(status, 400, offered);
    t.match(body, /holdfast\.v1\.json, holdfast\.v1\.binary/);
  }
  const device = await edge.connect('press-1', { headers, protocols: ['mqtt', BINARY_PROTOCOL, JSON_PROTOCOL] });
  t.equal(device.protocol, BINARY_PROTOCOL);
  await device.close();
});

void test('an Origin that is not on the list is 403, even with the right token; one on the list is let in', async (t) => {
  for (const origin of ['https://evil.example', `${ORIGIN}.evil.example`, 'null', ORIGIN.toUpperCase()]) {
    const { status, body } = await upgrade('press-1', { ...bearer('press-1'), Origin: origin });
    t.equal(status, 403, origin);
    t.match(body, /Origin/);
  }
  t.equal((await upgrade('press-1', { ...bearer('press-1'), Origin: ORIGIN })).status, 101);
});

void test('plain HTTP is 426 for a device and 404 elsewhere', async (t) => {
  const plain = await ask(edge.port, '/v1/devices/press-1', {});
  t.equal(plain.status, 426);
  t.equal(plain.headers.upgrade, 'websocket');
  for (const path of ['/', '/v1', '/v1/device/press-1', '/metrics', '/v2/devices/press-1']) {
    t.equal((await ask(edge.port, path, {})).status, 404, path);
    t.equal((await ask(edge.port, path, UPGRADE_HEADERS)).status, 404, path);
  }
});

void test('what was refused is counted by reason, and the edge ends cleanly', async (t) => {
  for (const reason of ['bad_id', 'no_credential', 'credential', 'origin', 'subprotocol']) {
    t.ok((await edge.process.metric(`holdfast_rejected_total{reason="${reason}"`)) >= 4, reason);
  }
  t.equal(await edge.stop(), 0);
});

void test('over the accept rate it is 429 with Retry-After; those who could not come in draw nothing', async (t) => {
  const slow = await TestEdge.start({ EDGE_ACCEPT_RATE: '1', EDGE_ACCEPT_BURST: '3', EDGE_RETRY_AFTER: '10s' });
  t.teardown(() => slow.stop());
  for (let count = 0; count < 10; count++) t.equal((await upgrade('%', {}, slow.port)).status, 400);
  const answers = await Promise.all(Array.from({ length: 20 }, (_, index) => upgrade(`d-${index}`, {}, slow.port)));
  const refused = answers.filter(({ status }) => status === 429);
  const admitted = answers.filter(({ status }) => status === 101);
  t.equal(refused.length + admitted.length, answers.length);
  t.ok(admitted.length >= 3, `${admitted.length} came in`);
  t.ok(refused.length > 0);
  for (const { headers, body } of refused) {
    const seconds = Number(headers['retry-after']);
    t.ok(Number.isInteger(seconds) && seconds >= 5 && seconds <= 20, `retry after ${seconds} s`);
    t.match(body, /too many devices connect at once/);
  }
  await until(async () => (await upgrade('later', {}, slow.port)).status === 101);
});

void test('over the accept rate each is told a turn of its own, at that rate', async (t) => {
  const slow = await TestEdge.start({ EDGE_ACCEPT_RATE: '1', EDGE_ACCEPT_BURST: '1', EDGE_RETRY_AFTER: '10ms' });
  t.teardown(() => slow.stop());
  const turns: number[] = [];
  for (let index = 0; turns.length < 100; index++) {
    const { status, headers } = await upgrade(`d-${index}`, {}, slow.port);
    if (status === 429) turns.push(Number(headers['retry-after']));
  }
  const inOrder = [...turns].sort((first, second) => first - second);
  t.strictSame(turns, inOrder, 'the next is later');
  t.ok(turns[0]! <= 2);
  t.ok(turns[50]! > 30, `${turns[50]} s after 50 others`);
  t.equal(turns[99], 60, 'but no turn is later than a minute');
});

void test('over EDGE_MAX_DEVICES it is 503 with Retry-After, until one leaves', async (t) => {
  const small = await TestEdge.start({ EDGE_MAX_DEVICES: '2' });
  t.teardown(() => small.stop());
  const [first] = [await small.connect('first'), await small.connect('second')];
  const { status, headers, body } = await upgrade('third', {}, small.port);
  t.equal(status, 503);
  t.match(headers['retry-after'], /^[12]$/);
  t.match(body, /2 devices are connected already/);
  await first.close();
  await until(async () => (await upgrade('third', {}, small.port)).status === 101);
});
