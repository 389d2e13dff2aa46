import { test, type Test } from 'tap';
import { until } from '../../test/support/processes.js';
import { WsEdge, type WsEdgeOptions } from '../../test/support/ws-edge.js';
import { noCounters } from './counters.js';
import { FleetDevice, type DeviceSurroundings } from './device.js';
import { makeDialer } from './dialer.js';
import { resolveEdge } from './edge-address.js';
import { Histogram } from './histogram.js';

const FIRST_TIME = 1_700_000_000_000;

interface Bench {
  readonly edge: WsEdge;
  readonly device: FleetDevice;
  readonly around: DeviceSurroundings;
  readonly failures: Error[];
}

interface DeviceSetup {
  readonly protocol?: 'binary' | 'json';
  readonly bufferRecords?: number;
  /** '': none. */
  readonly token?: string;
}

async function makeDevice(
  t: Test,
  edgeOptions: WsEdgeOptions = {},
  { protocol = 'binary', bufferRecords = 1_000, token = '' }: DeviceSetup = {},
): Promise<Bench> {
  const edge = await WsEdge.start(edgeOptions);
  const failures: Error[] = [];
  const around = {
    dialer: makeDialer({ edge: await resolveEdge(edge.url, protocol), protocol, payloadBytes: 100 }),
    counters: noCounters(),
    latencies: new Histogram(),
    intervalMs: 10,
    bufferRecords,
    onFailure: (error: Error) => failures.push(error),
  };
  const device = new FleetDevice(
    { id: 'fleet-test-1', token: token === '' ? undefined : token, localAddress: undefined },
    FIRST_TIME,
    around,
  );
  t.teardown(async () => {
    device.disconnect();
    await edge.stop();
  });
  return { edge, device, around, failures };
}

function produce(device: FleetDevice, count: number): void {
  for (let made = 0; made < count; made++) device.produce();
  device.flush();
}

for (const protocol of ['binary', 'json'] as const) {
  void test(`what is made before the connection and after it arrives once, in order, ${protocol}`, async (t) => {
    const { edge, device, around } = await makeDevice(t, {}, { protocol });
    produce(device, 3);
    device.connect(true);
    await until(() => around.counters.acked === 3);
    produce(device, 500);
    await until(() => around.counters.acked === 503);
    t.strictSame(
      edge.received.map(({ seq }) => seq),
      Array.from({ length: 503 }, (_, index) => index + 1),
    );
    t.ok(edge.received.every(({ seq, timeMs, kind }) => timeMs === FIRST_TIME + (seq - 1) * 10 && kind === 1));
    t.ok(edge.messageBytes.length < 10, 'a backlog goes in few messages');
    t.match(around.counters, { up: 1, made: 503, sent: 503, resent: 0, buffered: 0, reconnects: 0 });
    t.equal(around.latencies.total, 503);
    t.strictSame(device.ledger.acked(), [{ first: 1, last: 503 }]);
  });
}

void test('what is not acked when the network goes is kept, and sent again from the first of it', async (t) => {
  let acks = true;
  const { edge, device, around } = await makeDevice(t, { ackFor: () => acks });
  device.connect(true);
  await until(() => around.counters.up === 1);
  produce(device, 2);
  await until(() => around.counters.acked === 2);
  acks = false;
  produce(device, 3);
  await until(() => edge.received.length === 5);
  device.disconnect();
  produce(device, 4);
  t.match(around.counters, { up: 0, buffered: 7, acked: 2 });
  acks = true;
  device.connect(false);
  t.equal(around.counters.backlog, 7);
  await until(() => around.counters.buffered === 0);
  t.strictSame(
    edge.received.map(({ seq }) => seq),
    [1, 2, 3, 4, 5, 3, 4, 5, 6, 7, 8, 9],
  );
  t.match(around.counters, { acked: 9, sent: 12, resent: 3, reconnects: 1, backlog: 0 });
});

void test('an edge that is full is asked again when it said so', async (t) => {
  let refusals = 0;
  const refusalFor = (): { status: number; headers: Record<string, string> } | undefined =>
    ++refusals === 1 ? { status: 429, headers: { 'retry-after': '1' } } : undefined;
  const { edge, device, around, failures } = await makeDevice(t, { refusalFor });
  const startedMs = performance.now();
  produce(device, 1);
  device.connect(true);
  await until(() => around.counters.acked === 1);
  t.ok(performance.now() - startedMs >= 1_000, 'not before the time that the edge named');
  t.equal(around.counters.sentAway, 1);
  t.equal(edge.refusals, 1);
  t.strictSame(failures, []);
});

void test('a close with 1013 is heeded, and everything is sent again', async (t) => {
  const { device, around } = await makeDevice(t, {
    ackFor: () => false,
    onConnection: (socket) => setImmediate(() => socket.close(1013, 'retry-after:50')),
  });
  produce(device, 1);
  device.connect(true);
  await until(() => around.counters.sentAway >= 2);
  t.match(around.counters, { acked: 0, buffered: 1 });
});

void test('a device that is not let in is a failure of the fleet, with what the edge said', async (t) => {
  const { device, failures } = await makeDevice(
    t,
    {
      refusalFor: (_, authorization) => (authorization === 'Bearer right' ? undefined : { status: 403 }),
    },
    { token: 'wrong' },
  );
  device.connect(true);
  await until(() => failures.length > 0);
  t.match(failures[0], { code: 'device_refused', message: /fleet-test-1 in: the edge answered 403/ });
});

void test('a token gets it in', async (t) => {
  const { device, around } = await makeDevice(
    t,
    {
      refusalFor: (_, authorization) => (authorization === 'Bearer right' ? undefined : { status: 403 }),
    },
    { token: 'right' },
  );
  device.connect(true);
  await until(() => around.counters.up === 1);
});

void test('no more is under way than the window, and all of it arrives', async (t) => {
  const { device, around, edge } = await makeDevice(t, { windowBytes: 1_000 });
  produce(device, 100);
  device.connect(true);
  await until(() => around.counters.acked === 100);
  t.ok(edge.messageBytes.every((bytes) => bytes <= 1_000));
});

void test('a full buffer gives up its oldest, and the ledger says so', async (t) => {
  const { device, around, edge } = await makeDevice(t, {}, { bufferRecords: 10 });
  produce(device, 25);
  t.match(around.counters, { made: 25, dropped: 15, buffered: 10 });
  device.connect(true);
  await until(() => around.counters.acked === 10);
  t.strictSame(
    edge.received.map(({ seq }) => seq),
    Array.from({ length: 10 }, (_, index) => index + 16),
  );
  t.strictSame(device.ledger.acked(), [{ first: 16, last: 25 }]);
  t.equal(around.counters.buffered, 0);
});

void test('a refused record is counted, not acked, and the rest goes on', async (t) => {
  const errorFor = ({ seq }: { seq: number }): string | undefined => (seq % 5 === 0 ? 'bad_record' : undefined);
  const { device, around } = await makeDevice(t, { errorFor });
  device.connect(true);
  await until(() => around.counters.up === 1);
  produce(device, 12);
  await until(() => around.counters.buffered === 0);
  t.match(around.counters, { acked: 10, refused: 2 });
  t.strictSame(device.ledger.acked(), [
    { first: 1, last: 4 },
    { first: 6, last: 9 },
    { first: 11, last: 12 },
  ]);
});

void test('an error that names no record is about one of several: all are sent again, one by one', async (t) => {
  const { device, around, edge } = await makeDevice(t, { maxMessageBytes: 500 });
  produce(device, 20);
  device.connect(true);
  await until(() => around.counters.buffered === 0);
  t.match(around.counters, { acked: 20, refused: 0 });
  t.equal(edge.received.length, 20);
  t.strictSame(device.ledger.acked(), [{ first: 1, last: 20 }]);
});

void test('a connection on which no ack comes is cut, and another made', async (t) => {
  let acks = false;
  const { device, around, edge } = await makeDevice(t, { ackFor: () => acks });
  produce(device, 1);
  device.connect(true);
  await until(() => edge.received.length === 1);
  device.check(performance.now() + 29_000);
  t.equal(around.counters.up, 1);
  device.check(performance.now() + 31_000);
  t.equal(around.counters.up, 0);
  acks = true;
  await until(() => around.counters.acked === 1);
  t.match(around.counters, { broken: 1, reconnects: 1 });
});

void test('an edge that acks what was never sent is a failure', async (t) => {
  const { device, failures } = await makeDevice(t, {
    onConnection: (socket) => {
      const ack = Buffer.alloc(16);
      ack[0] = 1;
      ack.writeDoubleLE(5, 8);
      socket.send(ack);
    },
  });
  device.connect(true);
  await until(() => failures.length > 0);
  t.match(failures[0], { code: 'bad_frame', message: /an ack of 5, where 0 was sent last/ });
});
