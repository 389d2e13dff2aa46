import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'tap';
import { Kind } from '../../shared/batch.js';
import {
  BINARY_PROTOCOL,
  binaryRecord,
  RawSocket,
  upgradeRequest,
  type DeviceSocket,
} from '../../test/support/device-socket.js';
import { storedIn, TestEdge } from '../../test/support/edge.js';
import { freePorts, ServiceProcess, until } from '../../test/support/processes.js';

const RETRY_AFTER = /^retry-after:\d+$/;

/** Resident memory of a process, in bytes. */
function residentBytes(pid: number): number {
  return Number(/VmRSS:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))![1]) * 1024;
}

/** Sends records from `seq` on, one at a time, until the session closes. @returns the last seq that was acked */
async function sendUntilClosed(device: DeviceSocket, seq: number, payload: Buffer): Promise<number> {
  for (let next = seq; !device.isClosed; next++) {
    device.send(binaryRecord({ seq: next, payload }));
    await device.until(() => device.acked >= next).catch(() => device.closed());
  }
  return device.acked;
}

void test('a frame that fills the window is acked as far as it was taken, and the device gets on with it', async (t) => {
  const edge = await TestEdge.start();
  t.teardown(() => edge.stop());
  const deviceId = 'd'.repeat(128);
  const seqs = Array.from({ length: 9_000 }, (_, index) => index + 1);
  let acked = 0;
  let sessions = 0;
  while (acked < seqs.length && sessions < 3) {
    const device = await edge.connect(deviceId);
    sessions++;
    device.send(seqs.slice(acked).map((seq) => ({ seq, data: 1 })));
    await Promise.race([device.untilAcked(seqs.length), device.closed()]);
    t.ok(device.acked > acked, `session ${sessions} got as far as ${device.acked}`);
    acked = device.acked;
    if (acked < seqs.length) t.match(await device.closed(), { code: 1013, reason: RETRY_AFTER });
    else await device.close();
  }
  t.equal(sessions, 2, 'the window was reached once');
  t.same(await edge.storedSeqs(deviceId), seqs);
  t.equal(await edge.process.metric('holdfast_rejected_total{reason="window"'), 1);
});

void test('at the quota devices get 1013; what was acked is in the queue; a router that comes releases it', async (t) => {
  const edge = await TestEdge.start({ EDGE_QUOTA: '1MiB' });
  t.teardown(() => edge.stop());
  const payload = Buffer.from(JSON.stringify('x'.repeat(50_000)));
  const first = await edge.connect('quota', { protocols: [BINARY_PROTOCOL] });
  const acked = await sendUntilClosed(first, 1, payload);
  t.match(await first.closed(), { code: 1013, reason: RETRY_AFTER });
  t.ok(acked > 10 && acked < 2 ** 20 / payload.length, `${acked} records fit`);
  const seqs = Array.from({ length: acked }, (_, index) => index + 1);
  t.same(await edge.storedSeqs('quota'), seqs, 'what was acked, and nothing else');
  const second = await edge.connect('quota', { protocols: [BINARY_PROTOCOL] });
  t.equal(await sendUntilClosed(second, acked + 1, payload), 0, 'still full: nothing is acked');
  t.same(await edge.storedSeqs('quota'), seqs);
  t.ok((await edge.process.metric('holdfast_rejected_total{reason="queue"')) >= 2);

  const [publish, fetchPort, adminPort] = (await freePorts(3)) as [number, number, number];
  const queuePath = join(edge.directory, 'router');
  const keys = {
    ROUTER_QUEUE: queuePath,
    ROUTER_INTAKE: `tcp://127.0.0.1:${edge.routerPort}`,
    ROUTER_PUBLISH: `tcp://127.0.0.1:${publish}`,
    ROUTER_CONSUMERS_LISTEN: `tcp://127.0.0.1:${fetchPort}`,
    ROUTER_ADMIN_LISTEN: `127.0.0.1:${adminPort}`,
  };
  const router = new ServiceProcess(['router'], keys, adminPort);
  t.teardown(() => router.end());
  await router.start();
  await until(async () => (await edge.process.metric('holdfast_queue_records')) === 0);
  const third = await edge.connect('quota', { protocols: [BINARY_PROTOCOL] });
  third.send(binaryRecord({ seq: acked + 1, payload }));
  await third.untilAcked(acked + 1);
  await third.close();
  await until(async () => (await edge.process.metric('holdfast_queue_records')) === 0);
  const arrived = (await storedIn(queuePath)).filter(({ kind }) => kind === Kind.telemetry);
  t.same(
    arrived.map(({ seq }) => seq),
    [...seqs, acked + 1],
  );
});

void test('under the floor of free disk devices get 1013 and nothing is acked', async (t) => {
  const edge = await TestEdge.start({ EDGE_DISK_FLOOR: '32TiB' });
  t.teardown(() => edge.stop());
  const device = await edge.connect('floor');
  device.send({ seq: 1, data: 1 });
  t.match(await device.closed(), { code: 1013, reason: RETRY_AFTER });
  t.equal(device.acked, 0);
  t.same(await edge.stored(), []);
  t.match(edge.process.output, /disk_low/);
  t.ok(edge.process.running);
});

void test('a device that never reads its replies is closed and costs no memory; others are served', async (t) => {
  const edge = await TestEdge.start();
  t.teardown(() => edge.stop());
  const bad = JSON.stringify(Array.from({ length: 900 }, () => ({ seq: 0 })));
  const warm = await edge.connect('warm');
  for (let count = 1; count <= 20; count++) {
    warm.send(bad);
    await warm.until(() => warm.errors.length === 900 * count);
  }
  const beforeBytes = residentBytes(edge.process.pid);
  const deaf = await edge.connect('deaf');
  deaf.pause();
  // The replies to all of this are 90 MB.
  for (let count = 0; count < 1_000; count++) deaf.send(bad);
  await until(async () => (await edge.process.metric('holdfast_devices')) === 1);
  const answered = await edge.process.metric('holdfast_rejected_total{reason="bad_seq"');
  t.ok(answered < 500_000, `${answered} of 918,000 records were answered`);
  const growth = residentBytes(edge.process.pid) - beforeBytes;
  t.ok(growth < 32 * 2 ** 20, `the edge has grown by ${growth} bytes`);
  warm.send({ seq: 1, data: 1 });
  await warm.untilAcked(1);
  await warm.close();
  deaf.terminate();
});

void test('upgrades that never end keep nobody out, and are ended', async (t) => {
  const edge = await TestEdge.start();
  t.teardown(() => edge.stop());
  const slow = await Promise.all(Array.from({ length: 50 }, () => RawSocket.open(edge.port)));
  for (const socket of slow) socket.write(upgradeRequest('slow').slice(0, 100));
  const device = await edge.connect('fast');
  device.send({ seq: 1, data: 1 });
  await device.untilAcked(1);
  await device.close();
  await Promise.all(slow.map((socket) => socket.closed()));
  t.ok(edge.process.running);
});
