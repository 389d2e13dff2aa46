import { join } from 'node:path';
import fc from 'fast-check';
import { test, type Test } from 'tap';
import { Kind } from '../../../shared/batch.js';
import { deviceToken } from '../../../shared/token.js';
import { binaryRecord } from '../../../test/support/device-socket.js';
import { TestEdge } from '../../../test/support/edge.js';
import { binaryFrame, mutated } from '../../../test/support/fuzz-frames.js';
import { testDirectory } from '../../../test/support/directory.js';
import { freePorts, until } from '../../../test/support/processes.js';
import { isTraceWhole, messagesOf, readTrace, straceLauncher, straceMissing } from '../../../test/support/strace.js';
import { UdpDevice, udpDatagram, udpRecords, type UdpRecord } from '../../../test/support/udp-device.js';
import { ERROR_CODES } from './datagram.js';

const SECRET = 'a secret of the tests';
const TIME = Date.UTC(2026, 10, 20);

const edge = await TestEdge.start({ EDGE_DEVICE_SECRET: SECRET });

async function deviceFor(t: Test, id: string, key = deviceToken(SECRET, id), port = edge.udpPort): Promise<UdpDevice> {
  const device = await UdpDevice.open(port, id, key);
  t.teardown(() => device.close());
  return device;
}

function record(seq: number, data: unknown = seq): UdpRecord {
  return { seq, time: TIME + seq, data };
}

function refused(reason: string): Promise<number> {
  return edge.process.metric(`holdfast_udp_refused_total{reason="${reason}"`);
}

/** Waits until the edge has dealt with all that was sent: by one device's good record, which is acked. */
async function dealtWith(t: Test, id: string): Promise<void> {
  const device = await deviceFor(t, id);
  device.send([record(1)]);
  await until(() => device.acks.length === 1);
}

void test('records are acked after they are stored, with the seqs that are and no others', async (t) => {
  const device = await deviceFor(t, 'sensor:1');
  device.send([record(7), record(8, { temperature: 80.5 })]);
  await until(() => device.acks.length === 1);
  t.strictSame(device.acks, [{ first: 7, last: 8, bitmap: 0 }]);
  device.send([record(9)], true);
  device.send([record(10)]);
  await until(() => device.acks.length === 2);
  t.strictSame(device.acks[1], { first: 7, last: 8, bitmap: 1 });
  t.strictSame([...device.unacked.keys()], [9]);
  device.send([...device.unacked.values()]);
  await until(() => device.unacked.size === 0);
  t.strictSame(device.acks[2], { first: 7, last: 10, bitmap: 0 });
  const stored = await edge.stored('sensor:1');
  t.strictSame(
    stored.map(({ kind, seq, timeMs, payload }) => [kind, seq, timeMs, payload]),
    [
      [Kind.telemetry, 7, TIME + 7, '7'],
      [Kind.telemetry, 8, TIME + 8, '{"temperature":80.5}'],
      [Kind.telemetry, 10, TIME + 10, '10'],
      [Kind.telemetry, 9, TIME + 9, '9'],
    ],
    'and nothing of the edge’s own: datagrams are no presence',
  );
  t.ok(device.receivedBytes < device.sentBytes);
});

void test('a datagram that comes again is acked again and stored once; a seq with another time is stored', async (t) => {
  const device = await deviceFor(t, 'again');
  for (let count = 1; count <= 5; count++) {
    device.send([record(1), record(2)]);
    await until(() => device.acks.length === count);
  }
  t.strictSame(await edge.storedSeqs('again'), [1, 2]);
  device.send([{ ...record(2), time: TIME + 99 }]);
  await until(() => device.acks.length === 6);
  t.strictSame(await edge.storedSeqs('again'), [1, 2, 2]);
  t.strictSame(device.acks[5], { first: 2, last: 2, bitmap: 0 }, 'the device counts anew: what was known is forgotten');
});

void test('a datagram that comes again while its commit is under way is stored once', async (t) => {
  const device = await deviceFor(t, 'impatient');
  for (let count = 0; count < 50; count++) device.send([record(1), record(2)]);
  device.send([{ ...record(2), time: TIME + 99 }]);
  await dealtWith(t, 'patient');
  await until(() => device.acks.length > 0);
  t.strictSame(await edge.storedSeqs('impatient'), [1, 2, 2]);
});

void test('who cannot show the token hears nothing, and neither does what is no datagram', async (t) => {
  const stranger = await deviceFor(t, 'guarded', 'a wrong key');
  stranger.send([record(1)]);
  const other = await deviceFor(t, 'guarded', deviceToken(SECRET, 'another'));
  other.send([record(1)]);
  const empty = await deviceFor(t, 'guarded', '');
  empty.send([record(1)]);
  const good = udpDatagram('guarded', udpRecords([record(1)]), deviceToken(SECRET, 'guarded'));
  for (const bytes of [
    Buffer.alloc(0),
    Buffer.from('hello'),
    good.subarray(0, -1),
    Buffer.concat([good, Buffer.alloc(1)]),
    udpDatagram('guarded', udpRecords([record(1)]), deviceToken(SECRET, 'guarded'), 'HFA1'),
    udpDatagram('-', udpRecords([record(1)]), deviceToken(SECRET, '-')),
    udpDatagram('guarded', udpRecords([record(1, 'x'.repeat(1_500))]), deviceToken(SECRET, 'guarded')),
  ]) {
    stranger.sendBytes(bytes);
  }
  await dealtWith(t, 'after-strangers');
  t.equal((await edge.stored('guarded')).length, 0);
  t.strictSame(
    [stranger, other, empty].map(({ receivedBytes }) => receivedBytes),
    [0, 0, 0],
  );
  t.equal(await refused('hmac'), 4);
  t.equal(await refused('too_long'), 1);
});

void test('a record in error is named to who sent it alone, and its neighbours are stored', async (t) => {
  const device = await deviceFor(t, 'errors');
  device.send([record(1), { ...record(2), time: 0 }, record(3)]);
  await until(() => device.acks.length === 1);
  t.strictSame(device.acks[0], { first: 1, last: 1, bitmap: 2 ** 0 });
  t.strictSame(device.errors, [], 'an error beside an ack could be more than came');
  const raw = (bytes: Buffer): void => device.sendBytes(udpDatagram(device.id, bytes, deviceToken(SECRET, device.id)));
  raw(binaryRecord({ seq: 2, time: 0, payload: '2' }));
  raw(binaryRecord({ seq: 4, time: TIME, kind: 2, payload: 'no JSON' }));
  raw(binaryRecord({ seq: 5, time: TIME, kind: 9, payload: '5' }));
  raw(binaryRecord({ seq: 0, time: TIME, payload: '6' }));
  raw(binaryRecord({ seq: 7, time: -1, payload: '7' }));
  raw(binaryRecord({ seq: 8, time: TIME, payload: '8', size: 4_000 }));
  await until(() => device.errors.length === 6);
  t.strictSame(
    device.errors.map(({ seq, code }) => [seq, ERROR_CODES[code]]),
    [
      [2, 'bad_time'],
      [4, 'bad_json'],
      [5, 'bad_record'],
      [0, 'bad_seq'],
      [7, 'bad_time'],
      [0, 'bad_record'],
    ],
  );
  t.ok(device.receivedBytes < device.sentBytes);
  t.strictSame(await edge.storedSeqs('errors'), [1, 3]);
});

void test('no answer is owed where there is no room; what is sent again later is stored', async (t) => {
  const small = await TestEdge.start({ EDGE_QUOTA: '1MiB' });
  t.teardown(() => small.stop());
  const device = await deviceFor(t, 'a', '', small.udpPort);
  const filler = 'x'.repeat(1_300);
  let seq = 0;
  // Nobody empties the queue: it fills.
  const full = async (): Promise<boolean> => (await small.process.metric('holdfast_rejected_total{reason="queue"')) > 0;
  while (!(await full())) {
    for (let count = 0; count < 50; count++) device.send([record(++seq, filler)]);
  }
  await until(async () => {
    const answered = device.acks.length;
    device.send([...device.unacked.values()].slice(0, 1));
    await full();
    return device.acks.length === answered;
  });
  t.ok(device.unacked.size > 0);
  const stored = await small.storedSeqs('a');
  const acked = Array.from({ length: seq }, (_, index) => index + 1).filter((each) => !device.unacked.has(each));
  t.ok(
    acked.every((each) => stored.includes(each)),
    'what was acked is in the queue',
  );
  t.ok(small.process.running);
});

void test('without a secret the HMAC is a checksum, with the empty key', async (t) => {
  const open = await TestEdge.start({ EDGE_UDP_DEVICES: '2' });
  t.teardown(() => open.stop());
  const keyed = await deviceFor(t, 'a', 'a key', open.udpPort);
  keyed.send([record(1)]);
  // More devices than are remembered: the oldest is forgotten, and starts anew.
  for (const id of ['a', 'b', 'c', 'a']) {
    const device = await deviceFor(t, id, '', open.udpPort);
    device.send([record(id === 'a' ? 3 : 2)]);
    await until(() => device.unacked.size === 0);
  }
  const device = await deviceFor(t, 'a', '', open.udpPort);
  device.send([record(4)]);
  await until(() => device.acks.length === 1);
  t.strictSame(device.acks[0], { first: 3, last: 4, bitmap: 0 });
  t.equal(keyed.receivedBytes, 0);
  t.strictSame(await open.storedSeqs('a'), [3, 3, 4], 'what was forgotten is for the table’s key to find');
});

void test('an edge whose port of datagrams is taken says so, and with off it needs none', async (t) => {
  await t.rejects(
    TestEdge.start({ EDGE_UDP_LISTEN: `127.0.0.1:${edge.udpPort}` }),
    /cannot receive on 127\.0\.0\.1:\d+\/udp: .*EADDRINUSE/,
  );
  const off = await TestEdge.start({ EDGE_UDP_LISTEN: 'off' });
  t.equal(await off.stop(), 0);
});

/** A second edge, and some devices on it. */
async function startWithDevices(
  t: Test,
  count: number,
  launcher: readonly string[] = [],
): Promise<{ other: TestEdge; devices: UdpDevice[] }> {
  const other = await TestEdge.start({}, launcher);
  t.teardown(() => other.stop());
  const ids = Array.from({ length: count }, (_, index) => `device-${index}`);
  return { other, devices: await Promise.all(ids.map((id) => deviceFor(t, id, '', other.udpPort))) };
}

void test(
  'a burst of datagrams is read, and answered, in far fewer system calls than datagrams',
  { skip: straceMissing() ?? false },
  async (t) => {
    const file = join(testDirectory(t), 'trace');
    const { other, devices } = await startWithDevices(t, 20, straceLauncher(file, 'recvmsg,recvmmsg,sendmsg,sendmmsg'));
    const { pid } = other.process;
    process.kill(pid, 'SIGSTOP');
    for (let seq = 1; seq <= 10; seq++) for (const device of devices) device.send([record(seq)]);
    await until(() => devices.every(({ unsentDatagrams }) => unsentDatagrams === 0));
    process.kill(pid, 'SIGCONT');
    await until(() => devices.every(({ unacked }) => unacked.size === 0));
    const reads = await other.process.metric('holdfast_udp_reads_total');
    t.equal(await other.process.metric('holdfast_udp_received_total'), 200);
    const answers = await other.process.metric('holdfast_udp_sent_total{type="ack"');
    await other.process.end();
    await until(() => isTraceWhole(file, pid));
    const calls = readTrace(file).filter(({ result }) => result > 0);
    const [received, sent] = ['recv', 'send'].map((name) => calls.filter((call) => call.name.startsWith(name)));
    t.equal(received!.flatMap(messagesOf).length, 200);
    t.ok(received!.length <= 200 / 10, `read by ${received!.length} calls`);
    t.equal(received!.length, reads, 'which is what the edge says');
    t.equal(sent!.flatMap(messagesOf).length, answers);
    t.ok(sent!.length <= answers / 5, `${answers} answers by ${sent!.length} calls`);
  },
);

void test('every datagram that came is counted: received, or dropped by the kernel; and what was dropped comes again', async (t) => {
  const { other, devices } = await startWithDevices(t, 1);
  const device = devices[0]!;
  process.kill(other.process.pid, 'SIGSTOP');
  let sent = 0;
  const junk = Buffer.alloc(1_400);
  // Over 16 MiB as the kernel counts, which is more than was asked for.
  for (; sent < 10_000; sent++) device.sendBytes(junk);
  // As long as the others: a shorter one could still find room.
  device.send([record(1, 'x'.repeat(1_340))]);
  await until(() => device.unsentDatagrams === 0);
  process.kill(other.process.pid, 'SIGCONT');
  const count = (name: string): Promise<number> => other.process.metric(`holdfast_udp_${name}_total`);
  await until(async () => (await count('received')) + (await count('dropped')) === sent + 1);
  t.ok((await count('dropped')) > 0);
  t.equal(device.acks.length, 0);
  device.send([...device.unacked.values()]);
  await until(() => device.unacked.size === 0);
});

void test('an edge at an address of IPv6 answers there, and at :: to both kinds of senders', async (t) => {
  const [port] = (await freePorts(1)) as [number];
  for (const [host, senders] of [
    ['::1', ['::1']],
    ['::', ['::1', '127.0.0.1']],
  ] as const) {
    const other = await TestEdge.start({ EDGE_DEVICE_SECRET: SECRET, EDGE_UDP_LISTEN: `[${host}]:${port}` });
    t.teardown(() => other.stop());
    for (const sender of senders) {
      const id = `at-${sender}`;
      const device = await UdpDevice.open(port, id, deviceToken(SECRET, id), () => false, sender);
      t.teardown(() => device.close());
      device.send([record(1), record(2)]);
      await until(() => device.acks.length === 1);
      t.strictSame(device.acks, [{ first: 1, last: 2, bitmap: 0 }], `${sender} at ${host}`);
    }
    await other.process.end();
  }
});

void test('good datagrams before and after damaged ones are stored and acked by the real edge', async (t) => {
  const device = await deviceFor(t, 'fuzz');
  const fuzzed = await deviceFor(t, 'fuzzed');
  // Damaged inside, and signed all the same; or damaged anywhere.
  const signed = mutated(binaryFrame).map((frame) => udpDatagram('fuzzed', frame, deviceToken(SECRET, 'fuzzed')));
  const unsigned = mutated(binaryFrame.map((frame) => udpDatagram('fuzzed', frame, deviceToken(SECRET, 'fuzzed'))));
  let seq = 100;
  await fc.assert(
    fc.asyncProperty(fc.array(fc.oneof(signed, unsigned), { maxLength: 5 }), async (datagrams) => {
      for (const datagram of datagrams) fuzzed.sendBytes(datagram);
      device.send([record(++seq, 'good')]);
      await until(() => device.unacked.size === 0);
    }),
    { numRuns: 150 },
  );
  const good = (await edge.stored('fuzz')).filter(({ payload }) => payload === '"good"').map((each) => each.seq);
  t.strictSame(
    good,
    Array.from({ length: seq - 100 }, (_, index) => 101 + index),
  );
  t.ok(fuzzed.receivedBytes < fuzzed.sentBytes && fuzzed.errors.length > 10);
  t.ok(edge.process.running);
});

void test('a stopping edge acks what it took, and every acked record is in the queue', async (t) => {
  const ids = Array.from({ length: 10 }, (_, index) => `until-the-end-${index}`);
  const devices = await Promise.all(ids.map((id) => deviceFor(t, id)));
  const acked = new Set<string>();
  for (const device of devices) device.onAcked = (seq) => acked.add(`${device.id} ${seq}`);
  const sender = { over: false };
  const sending = (async () => {
    for (let seq = 0; !sender.over;) {
      for (let count = 0; count < 20; count++) {
        seq++;
        for (const device of devices) device.send([record(seq)]);
      }
      await new Promise(setImmediate);
    }
  })();
  await until(() => acked.size > 1_000);
  t.equal(await edge.process.end(), 0);
  sender.over = true;
  await sending;
  const stored = new Set((await edge.stored()).map(({ deviceId, seq }) => `${deviceId} ${seq}`));
  t.strictSame(
    [...acked].filter((each) => !stored.has(each)),
    [],
  );
  await edge.stop();
});
