import { deepStrictEqual, equal, ok } from 'node:assert/strict';
import { isUtf8 } from 'node:buffer';
import { once } from 'node:events';
import { connect } from 'node:net';
import fc from 'fast-check';
import { test } from 'tap';
import { BINARY_PROTOCOL, binaryRecord, type DeviceSocket } from '../../test/support/device-socket.js';
import { TestEdge } from '../../test/support/edge.js';
import { mutated } from '../../test/support/mutation.js';
import { readBinaryFrame } from './binary-frames.js';
import { readJsonFrame, type FrameRecord } from './json-frames.js';
import { MAX_FRAME_ERRORS } from './record-rules.js';
import { DeviceSession, type Replies } from './session.js';

const LIMITS = { payloadBytes: 200, depth: 4, validatePayloads: true };
const NOW_MS = 1_700_000_000_000;

/** A session that keeps what it is told. */
class Heard implements Replies {
  readonly errors: { readonly code: string; readonly message: string; readonly seq: number | undefined }[] = [];
  readonly session = new DeviceSession('fuzz', this);

  ack(): void {
    throw new Error('a decoder acks nothing');
  }

  error(code: string, message: string, seq: number | undefined): void {
    this.errors.push({ code, message, seq });
  }

  close(): void {
    throw new Error('a decoder closes nothing');
  }
}

const payload = fc.oneof(fc.jsonValue({ maxDepth: 3 }), fc.constant({ temperature: 80.5 }));

const said = fc.oneof(
  { arbitrary: fc.record({ data: payload }), weight: 3 },
  fc.record({ report: fc.constant({ valve: 'open' }) }),
  fc.record({ result: fc.constant({ id: 'c-1' }) }),
  fc.record({ data: payload, result: payload }),
);

const time = fc.oneof({ arbitrary: fc.nat(), weight: 8 }, fc.double());

/** Frames of records whose seqs rise from a number that the frame before may or may not have passed. */
const jsonFrame = fc
  .tuple(fc.nat(40), fc.array(fc.oneof({ arbitrary: fc.tuple(said, time), weight: 8 }, payload), { maxLength: 6 }))
  .map(([first, elements]) => {
    const records = elements.map((element, index) =>
      Array.isArray(element) ? { seq: first + index, time: element[1] as number, ...(element[0] as object) } : element,
    );
    return Buffer.from(JSON.stringify(records.length === 1 ? records[0] : records));
  });

const binaryFrame = fc
  .tuple(
    fc.nat(40),
    fc.array(
      fc.record({
        kind: fc.oneof({ arbitrary: fc.integer({ min: 1, max: 3 }), weight: 8 }, fc.nat(255)),
        time,
        payload: fc.oneof(
          { arbitrary: payload.map((value) => JSON.stringify(value)), weight: 8 },
          fc.uint8Array({ maxLength: 20 }).map((bytes) => Buffer.from(bytes)),
        ),
      }),
      { maxLength: 6 },
    ),
  )
  .map(([first, records]) =>
    Buffer.concat(records.map((record, index) => binaryRecord({ seq: first + index, ...record }))),
  );

/** What every record that a decoder takes must satisfy. */
function checkTaken(frame: Buffer, { kind, seq, timeMs, start, end }: FrameRecord, session: DeviceSession): void {
  ok(kind >= 1 && kind <= 3);
  ok(Number.isSafeInteger(seq) && seq > session.lastSeq);
  ok(timeMs >= 0 && timeMs <= 253_402_300_799_999);
  ok(start >= 0 && start < end && end <= frame.length && end - start <= LIMITS.payloadBytes);
  JSON.parse(frame.toString('utf8', start, end));
  session.lastSeq = seq;
}

function parsed(frame: Buffer): { readonly value: unknown } | undefined {
  try {
    return { value: JSON.parse(frame.toString()) };
  } catch {
    return undefined;
  }
}

void test('the JSON decoder answers every record of any frame with a take or an error, and never throws', (t) => {
  let taken = 0;
  fc.assert(
    fc.property(fc.array(mutated(jsonFrame), { minLength: 1, maxLength: 4 }), (frames) => {
      const heard = new Heard();
      for (const frame of frames) {
        heard.errors.length = 0;
        let takes = 0;
        const problem = readJsonFrame(frame, heard.session, LIMITS, NOW_MS, (record) => {
          checkTaken(frame, record, heard.session);
          takes++;
          return true;
        });
        const whole = parsed(frame);
        const expected = whole !== undefined && Array.isArray(whole.value) ? whole.value.length : 1;
        equal(problem, undefined);
        equal(takes + heard.errors.length, expected);
        if (whole === undefined) deepStrictEqual([takes, heard.errors[0]?.code], [0, 'bad_json']);
        for (const { message } of heard.errors) ok(message.length < 400);
        taken += takes;
      }
    }),
    { numRuns: 3_000 },
  );
  t.ok(taken > 500, `${taken} records were taken`);
  t.end();
});

/** How many records a frame holds by its size fields, and whether they fill it. */
function walk(frame: Buffer): { readonly records: number; readonly fills: boolean } {
  let at = 0;
  let records = 0;
  while (at + 24 <= frame.length) {
    const end = at + 4 + frame.readUInt32LE(at);
    if (end < at + 24 || end > frame.length) break;
    at = end;
    records++;
  }
  return { records, fills: at === frame.length && records > 0 };
}

void test('the binary decoder answers every record of any frame with a take or an error, and never throws', (t) => {
  let taken = 0;
  fc.assert(
    fc.property(fc.array(mutated(binaryFrame), { minLength: 1, maxLength: 4 }), (frames) => {
      const heard = new Heard();
      for (const frame of frames) {
        heard.errors.length = 0;
        let takes = 0;
        const problem = readBinaryFrame(frame, heard.session, LIMITS, NOW_MS, (kind, seq, timeMs, start, end) => {
          checkTaken(frame, { kind, seq, timeMs, start, end }, heard.session);
          takes++;
          return true;
        });
        const { records, fills } = walk(frame);
        equal(takes + heard.errors.length, records);
        equal(problem === undefined, fills);
        for (const { message } of heard.errors) ok(message.length < 400);
        taken += takes;
      }
    }),
    { numRuns: 3_000 },
  );
  t.ok(taken > 500, `${taken} records were taken`);
  t.end();
});

void test('a decoder takes no more of a frame once there is no room', (t) => {
  const records = [1, 2, 3, 4].map((seq) => ({ seq, data: seq }));
  const json = Buffer.from(JSON.stringify(records));
  const binary = Buffer.concat(records.map(({ seq }) => binaryRecord({ seq })));
  const seqs: number[] = [];
  const take = (seq: number): boolean => seqs.push(seq) < 2;
  readJsonFrame(json, new Heard().session, LIMITS, NOW_MS, ({ seq }) => take(seq));
  t.same(seqs.splice(0), [1, 2]);
  readBinaryFrame(binary, new Heard().session, LIMITS, NOW_MS, (_, seq) => take(seq));
  t.same(seqs, [1, 2]);
  t.end();
});

void test('one frame gets a bounded number of errors, and is malformed beyond it', (t) => {
  const takesNone = (): never => {
    throw new Error('nothing here can be taken');
  };
  for (const count of [MAX_FRAME_ERRORS, MAX_FRAME_ERRORS + 1, 10_000]) {
    const says = count > MAX_FRAME_ERRORS ? /more than 1000 of its records are bad/ : /^none$/;
    const json = new Heard();
    const frame = Buffer.from(JSON.stringify(Array<number>(count).fill(1)));
    t.match(readJsonFrame(frame, json.session, LIMITS, NOW_MS, takesNone) ?? 'none', says);
    t.equal(json.errors.length, Math.min(count, MAX_FRAME_ERRORS + 1));
    const binary = new Heard();
    const records = Buffer.concat(Array<Buffer>(count).fill(binaryRecord({ seq: 0 })));
    t.match(readBinaryFrame(records, binary.session, LIMITS, NOW_MS, takesNone) ?? 'none', says);
    t.equal(binary.errors.length, Math.min(count, MAX_FRAME_ERRORS + 1));
  }
  t.end();
});

void test('a binary payload that is no JSON is found before it is acked where that is asked for', (t) => {
  for (const [bad, says] of [
    ['{"a":}', /the payload is not JSON/],
    ['1 2', /the payload is not JSON/],
    [Buffer.from([0x22, 0xff, 0x22]), /the payload is not UTF-8/],
    ['[[[[[]]]]]', /5 levels deep; the limit is 4/],
  ] as const) {
    const heard = new Heard();
    const frame = Buffer.concat([1, 2, 3].map((seq) => binaryRecord({ seq, payload: seq === 2 ? bad : '[[[[]]]]' })));
    const taken: number[] = [];
    readBinaryFrame(frame, heard.session, LIMITS, NOW_MS, (_, seq) => taken.push(seq) > 0);
    t.same(taken, [1, 3]);
    t.match(heard.errors, [{ code: 'bad_json', seq: 2, message: says }]);
  }
  t.end();
});

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
  const upgrade = Buffer.from(
    'GET /v1/devices/raw HTTP/1.1\r\nHost: edge\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n' +
      'Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n',
  );
  const masked = Buffer.from([0x81, 0x8a, 0, 0, 0, 0, ...Buffer.from('{"data":1}')]);
  await fc.assert(
    fc.asyncProperty(mutated(fc.constant(upgrade)), mutated(fc.constant(masked)), async (head, frame) => {
      const socket = connect(edge.port, '127.0.0.1');
      socket.on('error', () => undefined);
      await once(socket, 'connect');
      socket.write(head);
      socket.write(frame);
      socket.end();
      await once(socket.resume(), 'close');
    }),
    runs,
  );
  const device = await edge.connect('after');
  device.send({ seq: 1, data: 1 });
  await device.untilAcked(1);
  await device.close();
  t.equal(await edge.stop(), 0);
});
