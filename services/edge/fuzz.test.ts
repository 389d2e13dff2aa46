import { deepStrictEqual, equal, ok } from 'node:assert/strict';
import { isUtf8 } from 'node:buffer';
import fc from 'fast-check';
import { test } from 'tap';
import {
  BINARY_PROTOCOL,
  binaryRecord,
  RawSocket,
  upgradeRequest,
  type DeviceSocket,
} from '../../test/support/device-socket.js';
import { TestEdge } from '../../test/support/edge.js';
import { binaryFrame, jsonFrame, mutated, walk } from '../../test/support/fuzz-frames.js';

const edge = await TestEdge.start();
const runs = { numRuns: 150 };

/** Waits for the answer to the last record that was sent, or for the end of the session. */
async function settled(device: DeviceSocket, seq: number): Promise<void> {
  await device.until(() => device.acked >= seq).catch(() => device.closed());
}

void test('good JSON records between damaged frames are stored and acked by the real edge', async (t) => {
  const sent: string[] = [];
  /** Sends a good record, and behind it one whose error tells which seq the edge counts. */
  const sendGood = async (device: DeviceSocket): Promise<void> => {
    const good = JSON.stringify(`good ${sent.length + 1}`);
    device.send(`{"data":${good}}`);
    device.send(`{"data":0,"time":${good}}`);
    const answer = (): number => device.errors.find(({ message }) => message.includes(good))?.seq ?? Infinity;
    await device.until(() => device.acked >= answer() - 1);
    sent.push(good);
  };
  // The first record is a good one without a seq: from then on the edge counts, and no damaged frame can make it wrong.
  const open = async (): Promise<DeviceSocket> => {
    const opened = await edge.connect('fuzz-json');
    await sendGood(opened);
    return opened;
  };
  let device = await open();
  await fc.assert(
    fc.asyncProperty(fc.array(mutated(jsonFrame), { maxLength: 4 }), async (frames) => {
      for (const frame of frames) device.sendText(frame);
      if (frames.every((frame) => isUtf8(frame))) {
        await sendGood(device);
      } else {
        // Text that is no UTF-8 ends a session.
        await device.closed();
        device = await open();
      }
    }),
    runs,
  );
  await device.close();
  const stored = (await edge.stored('fuzz-json')).map((record) => record.payload).filter((text) => /^"good/.test(text));
  t.same(stored, sent);
  t.ok(edge.process.running);
});

void test('good binary records before and after damaged frames are stored and acked by the real edge', async (t) => {
  let malformed = 0;
  await fc.assert(
    fc.asyncProperty(mutated(binaryFrame), fc.nat(), async (frame, run) => {
      const deviceId = `fuzz-binary-${run}`;
      const device = await edge.connect(deviceId, { protocols: [BINARY_PROTOCOL] });
      device.send(binaryRecord({ seq: 1 }));
      device.send(frame);
      device.send(binaryRecord({ seq: Number.MAX_SAFE_INTEGER }));
      await settled(device, Number.MAX_SAFE_INTEGER);
      ok(device.acked >= 1);
      if (device.isClosed) {
        malformed++;
        deepStrictEqual(await device.closed(), { code: 1007, reason: 'malformed frame' });
        equal(walk(frame).fills, false);
      } else {
        equal(walk(frame).fills, true);
        await device.close();
      }
    }),
    runs,
  );
  t.ok(malformed > 20, `${malformed} frames were malformed`);
  t.ok(edge.process.running);
});

void test('damaged upgrades and damaged WebSocket frames do not harm the edge', async (t) => {
  const upgrade = Buffer.from(upgradeRequest('raw'));
  const masked = Buffer.from([0x81, 0x8a, 0, 0, 0, 0, ...Buffer.from('{"data":1}')]);
  await fc.assert(
    fc.asyncProperty(mutated(fc.constant(upgrade)), mutated(fc.constant(masked)), async (head, frame) => {
      const socket = await RawSocket.open(edge.port);
      socket.write(head);
      socket.write(frame);
      socket.end();
      await socket.closed();
    }),
    runs,
  );
  const device = await edge.connect('after');
  device.send({ seq: 1, data: 1 });
  await device.untilAcked(1);
  await device.close();
  t.equal(await edge.stop(), 0);
});
