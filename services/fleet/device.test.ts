import { test, type Test } from 'tap';
import {
  FLEET_FIRST_TIME_MS,
  FLEET_INTERVAL_MS,
  fleetDevice,
  produce,
  type FleetBench,
} from '../../test/support/fleet-device.js';
import { until } from '../../test/support/processes.js';
import { WsEdge, type WsEdgeOptions } from '../../test/support/ws-edge.js';
import { resolveEdge } from './edge-address.js';

interface Bench extends FleetBench {
  readonly edge: WsEdge;
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
  const dialer = { edge: await resolveEdge(edge.url, protocol), protocol, payloadBytes: 100 };
  const setup = { dialer, bufferRecords, token: token === '' ? undefined : token };
  return { edge, ...fleetDevice(t, setup, () => edge.stop()) };
}

for (const protocol of ['binary', 'json'] as const) {
  void test(`what is made before the connection and after it arrives once, in order, ${protocol}`, async (t) => {
    const { edge, device, counters, latencies } = await makeDevice(t, {}, { protocol });
    produce(device, 3);
    device.connect(true);
    await until(() => counters.acked === 3);
    produce(device, 500);
    await until(() => counters.acked === 503);
    t.strictSame(
      edge.received.map(({ seq }) => seq),
      Array.from({ length: 503 }, (_, index) => index + 1),
    );
    t.ok(
      edge.received.every(
        ({ seq, timeMs, kind }) => timeMs === FLEET_FIRST_TIME_MS + (seq - 1) * FLEET_INTERVAL_MS && kind === 1,
      ),
    );
    t.ok(edge.messageBytes.length < 10, 'a backlog goes in few messages');
    t.match(counters, { up: 1, made: 503, sent: 503, resent: 0, buffered: 0, reconnects: 0 });
    t.equal(latencies.total, 503);
    t.strictSame(device.ledger.acked(), [{ first: 1, last: 503 }]);
  });
}

void test('what is not acked when the network goes is kept, and sent again from the first of it', async (t) => {
  let acks = true;
  const { edge, device, counters } = await makeDevice(t, { ackFor: () => acks });
  device.connect(true);
  await until(() => counters.up === 1);
  produce(device, 2);
  await until(() => counters.acked === 2);
  acks = false;
  produce(device, 3);
  await until(() => edge.received.length === 5);
  device.disconnect();
  produce(device, 4);
  t.match(counters, { up: 0, buffered: 7, acked: 2 });
  acks = true;
  device.connect(false);
  t.equal(counters.backlog, 7);
  await until(() => counters.buffered === 0);
  t.strictSame(
    edge.received.map(({ seq }) => seq),
    [1, 2, 3, 4, 5, 3, 4, 5, 6, 7, 8, 9],
  );
  t.match(counters, { acked: 9, sent: 12, resent: 3, reconnects: 1, backlog: 0 });
});

void test('an edge that is full is asked again when it said so', async (t) => {
  let refusals = 0;
  const refusalFor = (): { status: number; headers: Record<string, string> } | undefined =>
    ++refusals === 1 ? { status: 429, headers: { 'retry-after': '1' } } : undefined;
  const { edge, device, counters, failures } = await makeDevice(t, { refusalFor });
  const startedMs = performance.now();
  produce(device, 1);
  device.connect(true);
  await until(() => counters.acked === 1);
  t.ok(performance.now() - startedMs >= 1_000, 'not before the time that the edge named');
  t.equal(counters.sentAway, 1);
  t.equal(edge.refusals, 1);
  t.strictSame(failures, []);
});

void test('a close with 1013 is heeded, and everything is sent again', async (t) => {
  const { device, counters } = await makeDevice(t, {
    ackFor: () => false,
    onConnection: (socket) => setImmediate(() => socket.close(1013, 'retry-after:50')),
  });
  produce(device, 1);
  device.connect(true);
  await until(() => counters.sentAway >= 2);
  t.match(counters, { acked: 0, buffered: 1 });
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
  const { device, counters } = await makeDevice(
    t,
    {
      refusalFor: (_, authorization) => (authorization === 'Bearer right' ? undefined : { status: 403 }),
    },
    { token: 'right' },
  );
  device.connect(true);
  await until(() => counters.up === 1);
});

void test('no more is under way than the window, and all of it arrives', async (t) => {
  const { device, counters, edge } = await makeDevice(t, { windowBytes: 1_000 });
  produce(device, 100);
  device.connect(true);
  await until(() => counters.acked === 100);
  t.ok(edge.messageBytes.every((bytes) => bytes <= 1_000));
});

void test('a full buffer gives up its oldest, and the ledger says so', async (t) => {
  const { device, counters, edge } = await makeDevice(t, {}, { bufferRecords: 10 });
  produce(device, 25);
  t.match(counters, { made: 25, dropped: 15, buffered: 10 });
  device.connect(true);
  await until(() => counters.acked === 10);
  t.strictSame(
    edge.received.map(({ seq }) => seq),
    Array.from({ length: 10 }, (_, index) => index + 16),
  );
  t.strictSame(device.ledger.acked(), [{ first: 16, last: 25 }]);
  t.equal(counters.buffered, 0);
});

void test('a refused record is counted, not acked, and the rest goes on', async (t) => {
  const errorFor = ({ seq }: { seq: number }): string | undefined => (seq % 5 === 0 ? 'bad_record' : undefined);
  const { device, counters } = await makeDevice(t, { errorFor });
  device.connect(true);
  await until(() => counters.up === 1);
  produce(device, 12);
  await until(() => counters.buffered === 0);
  t.match(counters, { acked: 10, refused: 2 });
  t.strictSame(device.ledger.acked(), [
    { first: 1, last: 4 },
    { first: 6, last: 9 },
    { first: 11, last: 12 },
  ]);
});

void test('an error that names no record is about one of several: all are sent again, one by one', async (t) => {
  const { device, counters, edge } = await makeDevice(t, { maxMessageBytes: 500 });
  produce(device, 20);
  device.connect(true);
  await until(() => counters.buffered === 0);
  t.match(counters, { acked: 20, refused: 0 });
  t.equal(edge.received.length, 20);
  t.strictSame(device.ledger.acked(), [{ first: 1, last: 20 }]);
});

void test('a connection on which no ack comes is cut, and another made', async (t) => {
  let acks = false;
  const { device, counters, edge } = await makeDevice(t, { ackFor: () => acks });
  produce(device, 1);
  device.connect(true);
  await until(() => edge.received.length === 1);
  device.check(performance.now() + 29_000);
  t.equal(counters.up, 1);
  device.check(performance.now() + 31_000);
  t.equal(counters.up, 0);
  acks = true;
  await until(() => counters.acked === 1);
  t.match(counters, { broken: 1, reconnects: 1 });
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
