import { test } from 'tap';
import { Kind } from '../../shared/batch.js';
import { BINARY_PROTOCOL, binaryRecord } from '../../test/support/device-socket.js';
import { TestEdge } from '../../test/support/edge.js';
import { until } from '../../test/support/processes.js';

const edge = await TestEdge.start();

async function kindsOf(deviceId: string): Promise<[kind: number, seq: number][]> {
  return (await edge.stored(deviceId)).map(({ kind, seq }) => [kind, seq]);
}

async function untilOffline(deviceId: string): Promise<void> {
  await until(async () => (await kindsOf(deviceId)).at(-1)?.[0] === Kind.offline);
}

void test('hello comes first and says who the device is and its window', async (t) => {
  for (const protocols of [[], [BINARY_PROTOCOL]]) {
    const device = await edge.connect('hello-1', { protocols });
    t.same(device.replies, [{ type: 'hello', device: 'hello-1', windowBytes: 2 ** 20 }]);
    await device.close();
  }
});

void test('a session is one online, its records, one offline, in this order', async (t) => {
  const device = await edge.connect('order');
  device.send([
    { seq: 1, data: 1 },
    { seq: 2, report: {} },
  ]);
  device.send({ seq: 3, result: { id: 'c-1' } });
  t.equal((await device.close()).code, 1005);
  await untilOffline('order');
  t.same(await kindsOf('order'), [
    [Kind.online, 0],
    [Kind.telemetry, 1],
    [Kind.report, 2],
    [Kind.result, 3],
    [Kind.offline, 0],
  ]);
  const stored = await edge.stored('order');
  const online = JSON.parse(stored[0]!.payload) as { protocol: string; session: string };
  const offline = JSON.parse(stored.at(-1)!.payload) as { session: string };
  t.equal(online.protocol, 'json');
  t.match(online.session, /^[0-9a-f-]{36}$/);
  t.same(offline, { session: online.session }, 'and both say which connection it was');
});

void test('a connection that breaks without a word goes offline too', async (t) => {
  const device = await edge.connect('broken', { protocols: [BINARY_PROTOCOL] });
  device.send(binaryRecord({ seq: 1 }));
  await device.untilAcked(1);
  device.terminate();
  await untilOffline('broken');
  t.same(
    (await kindsOf('broken')).map(([kind]) => kind),
    [Kind.online, Kind.telemetry, Kind.offline],
  );
});

void test('the newest session wins: the older gets 4409, its records are stored, and there is no offline between', async (t) => {
  const older = await edge.connect('twice');
  const frames = 200;
  for (let seq = 1; seq <= frames; seq++) older.send({ seq, data: 'older' });
  const newer = await edge.connect('twice');
  t.same(await older.closed(), { code: 4409, reason: 'the device has opened another session' });
  newer.send({ seq: 1_000, data: 'newer' });
  await newer.untilAcked(1_000);
  const before = await kindsOf('twice');
  const online = before.findLastIndex(([kind]) => kind === Kind.online);
  const ofOlder = before.slice(1, online).map(([, seq]) => seq);
  t.same(
    ofOlder,
    ofOlder.map((_, index) => index + 1),
    'the records of the older session stand before the newer, in order and without a gap',
  );
  t.ok(ofOlder.length >= older.acked, `${older.acked} acked, ${ofOlder.length} stored`);
  t.same(before.slice(online), [
    [Kind.online, 0],
    [Kind.telemetry, 1_000],
  ]);
  t.equal(before.filter(([kind]) => kind === Kind.offline).length, 0);
  t.equal(await edge.process.metric('holdfast_take_overs_total'), 1);
  await newer.close();
  await untilOffline('twice');
  t.equal((await kindsOf('twice')).filter(([kind]) => kind === Kind.offline).length, 1);
  const notes = (await edge.stored('twice')).filter(({ kind }) => kind === Kind.online || kind === Kind.offline);
  const [first, second, last] = notes.map(({ payload }) => (JSON.parse(payload) as { session: string }).session);
  t.not(first, second, 'each connection has a name of its own');
  t.equal(last, second, 'and it is the newer that went');
});

void test('a device that takes itself over again and again has one session at the end', async (t) => {
  const sessions = [];
  for (let count = 0; count < 20; count++) sessions.push(await edge.connect('again'));
  const last = sessions.pop()!;
  for (const session of sessions) t.equal((await session.closed()).code, 4409);
  last.send({ seq: 1, data: 1 });
  await last.untilAcked(1);
  t.equal(await edge.process.metric('holdfast_devices'), 1);
  const kinds = (await kindsOf('again')).map(([kind]) => kind);
  t.same(kinds, [...Array<number>(20).fill(Kind.online), Kind.telemetry]);
  await last.close();
});

void test('a new session starts its seqs anew, and may count where the one before did not', async (t) => {
  for (const frames of [[{ seq: 5, data: 1 }], [{ seq: 3, data: 1 }], [{ data: 1 }, { data: 2 }]]) {
    const device = await edge.connect('anew');
    for (const each of frames) device.send(each);
    await device.until(() => device.acked > 0 && device.acked === ('seq' in frames[0]! ? frames[0].seq : 2));
    t.same(device.errors, []);
    await device.close();
  }
  t.same(await edge.storedSeqs('anew'), [5, 3, 1, 2]);
});

void test('the edge ends cleanly', async (t) => {
  t.equal(await edge.stop(), 0);
});
