import { test } from 'tap';
import { Kind } from '../../shared/batch.js';
import {
  BINARY_PROTOCOL,
  binaryRecord,
  RawSocket,
  upgradeRequest,
  type DeviceSocket,
} from '../../test/support/device-socket.js';
import { TestEdge } from '../../test/support/edge.js';
import { until } from '../../test/support/processes.js';

const RESTARTS = { code: 1012, reason: 'the edge restarts' };
const DEVICES = 10;
const PAYLOAD = JSON.stringify('x'.repeat(1_500));
const RECORDS_PER_FRAME = 20;
/** Always some frames on their way, and still within the window. */
const RECORDS_IN_FLIGHT = 500;

async function connectAll(edge: TestEdge): Promise<DeviceSocket[]> {
  const ids = Array.from({ length: DEVICES }, (_, index) => `stop-${index}`);
  return Promise.all(ids.map((id) => edge.connect(id, { protocols: [BINARY_PROTOCOL] })));
}

void test('SIGTERM closes every session with 1012, notes that they went, and exits with 0', async (t) => {
  const edge = await TestEdge.start();
  const devices = await connectAll(edge);
  for (const device of devices) device.send(binaryRecord({ seq: 1 }));
  for (const device of devices) await device.untilAcked(1);
  t.equal(await edge.process.end(), 0);
  for (const device of devices) t.same(await device.closed(), RESTARTS);
  for (let index = 0; index < DEVICES; index++) {
    const kinds = (await edge.stored(`stop-${index}`)).map(({ kind }) => kind);
    t.same(kinds, [Kind.online, Kind.telemetry, Kind.offline]);
  }
  await edge.stop();
});

void test('SIGTERM under load: everything acked is in the queue, without a gap, and the exit code is 0', async (t) => {
  const edge = await TestEdge.start();
  const devices = await connectAll(edge);
  const loads = devices.map(async (device) => {
    const isBehind = (seq: number): boolean => seq - device.acked > RECORDS_IN_FLIGHT;
    for (let seq = 1; !device.isClosed; seq += RECORDS_PER_FRAME) {
      const seqs = Array.from({ length: RECORDS_PER_FRAME }, (_, index) => seq + index);
      device.send(Buffer.concat(seqs.map((each) => binaryRecord({ seq: each, payload: PAYLOAD }))));
      if (isBehind(seq)) await device.until(() => !isBehind(seq)).catch(() => device.closed());
    }
  });
  await Promise.all(devices.map((device) => device.untilAcked(500)));
  t.equal(await edge.process.end(), 0, edge.process.output);
  await Promise.all(loads);
  const stored = await edge.stored();
  for (const [index, device] of devices.entries()) {
    t.same(await device.closed(), RESTARTS);
    const own = stored.filter(({ deviceId, kind }) => deviceId === `stop-${index}` && kind === Kind.telemetry);
    const seqs = own.map(({ seq }) => seq);
    const whole = seqs.every((seq, at) => seq === at + 1);
    t.ok(whole && seqs.length >= device.acked, `${device.acked} acked, ${seqs.length} stored`);
    t.equal(seqs.length, device.acked, 'and everything that was taken was acked');
  }
  await edge.stop();
});

void test('an upgrade that comes while the edge stops is sent away', async (t) => {
  const edge = await TestEdge.start();
  const waiting = await Promise.all(Array.from({ length: 10 }, () => RawSocket.open(edge.port)));
  const ended = edge.process.end();
  await until(() => edge.process.output.includes('"stopping"'));
  for (const socket of waiting) socket.write(upgradeRequest('late'));
  t.equal(await ended, 0);
  for (const socket of waiting) {
    await socket.closed();
    t.match(socket.answer, /^($|HTTP\/1\.1 503 )/);
  }
  await edge.stop();
});
