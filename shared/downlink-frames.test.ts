import { deepStrictEqual, equal, ok } from 'node:assert/strict';
import fc from 'fast-check';
import { test } from 'tap';
import {
  cancellation,
  decodeDownlink,
  decodeUplink,
  downlinkTopic,
  DownlinkType,
  encodeDownlink,
  encodeQuestion,
  subscription,
} from './downlink-frames.js';

const DEVICE_ID = /^[A-Za-z0-9][A-Za-z0-9._:-]{0,127}$/;
const deviceId = fc.stringMatching(DEVICE_ID);
const type = fc.constantFrom(...Object.values(DownlinkType));
const version = fc.maxSafeNat();
const payload = fc.oneof(
  fc.json(),
  fc.uint8Array().map((bytes) => Buffer.from(bytes)),
);

void test('what an edge says is read as it was said', (t) => {
  fc.assert(
    fc.property(deviceId, (id) => {
      deepStrictEqual(decodeUplink(subscription(id)), { type: 'subscribe', deviceId: id });
      deepStrictEqual(decodeUplink(cancellation(id)), { type: 'cancel', deviceId: id });
      deepStrictEqual(decodeUplink(encodeQuestion(id)), { type: 'question', deviceId: id });
      equal(subscription(id).toString('latin1', 1), downlinkTopic(id), 'ZeroMQ subscribes to what messages begin with');
    }),
  );
  t.end();
});

void test('what shadow says is read as it was said, byte for byte', (t) => {
  fc.assert(
    fc.property(deviceId, type, version, payload, (id, kind, number, bytes) => {
      deepStrictEqual(decodeDownlink(encodeDownlink(id, kind, number, bytes)), {
        deviceId: id,
        type: kind,
        version: number,
        payload: Buffer.from(bytes),
      });
    }),
  );
  t.end();
});

void test('the topic of no device is the start of the topic of another', (t) => {
  fc.assert(
    fc.property(deviceId, deviceId, (one, other) => {
      fc.pre(one !== other);
      ok(!downlinkTopic(one).startsWith(downlinkTopic(other)));
      ok(!downlinkTopic(one + other).startsWith(downlinkTopic(one)));
    }),
  );
  t.end();
});

void test('any bytes are read as a message or as none, and nothing is thrown', (t) => {
  const bytes = fc.uint8Array({ maxLength: 40 }).map((array) => Buffer.from(array));
  const near = fc
    .tuple(deviceId, type, version, payload, fc.array(fc.tuple(fc.nat(150), fc.nat(255)), { maxLength: 3 }))
    .map(([id, kind, number, body, damages]) => {
      const frame = encodeDownlink(id, kind, number, body);
      for (const [at, byte] of damages) if (at < frame.length) frame[at] = byte;
      return frame;
    });
  let read = 0;
  fc.assert(
    fc.property(fc.oneof(near, bytes), bytes, (sent, frame) => {
      const message = decodeDownlink(sent);
      if (message !== undefined) {
        read++;
        ok(message.deviceId.length > 0);
        ok(Number.isSafeInteger(message.version) && message.version >= 0);
        ok([3, 4, 6].includes(message.type));
      }
      const said = decodeUplink(frame);
      if (said !== undefined) ok(said.deviceId.length > 0 && [0, 1, 2].includes(frame[0]!));
    }),
    { numRuns: 2_000 },
  );
  t.ok(read > 100, `${read} were messages`);
  t.end();
});

void test('what is no message of the downlink is told from one', (t) => {
  const topic = Buffer.from('a\0');
  const header = (kind: number, number: number): Buffer => {
    const bytes = Buffer.alloc(9);
    bytes[0] = kind;
    bytes.writeDoubleLE(number, 1);
    return bytes;
  };
  const body = Buffer.from('{}');
  t.ok(decodeDownlink(Buffer.concat([topic, header(3, 7), body])));
  t.equal(decodeDownlink(Buffer.concat([topic, header(3, 7)]))?.payload.length, 0);
  for (const parts of [
    [],
    [topic],
    [Buffer.from('a'), header(3, 7), body],
    [Buffer.from('\0'), header(3, 7), body],
    [Buffer.alloc(0), header(3, 7), body],
    [topic, header(5, 7), body],
    [topic, header(3, -1), body],
    [topic, header(3, 1.5), body],
    [topic, header(3, Number.NaN), body],
    [topic, header(3, Infinity), body],
    [topic, header(3, 7).subarray(0, 8)],
    [topic, body],
  ]) {
    t.equal(decodeDownlink(Buffer.concat(parts)), undefined);
  }
  for (const text of ['', '\x01', '\0', '\x01a', '\x01\0', '\x01a\0b', '\x01a\0\0', '\0a', '\x02', '\x03a\0', 'a\0']) {
    t.equal(decodeUplink(Buffer.from(text, 'latin1')), undefined, JSON.stringify(text));
  }
  t.end();
});
