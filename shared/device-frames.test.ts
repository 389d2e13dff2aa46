import fc from 'fast-check';
import { test } from 'tap';
import { encodeDown } from '../test/support/ws-edge.js';
import {
  decodeDownFrame,
  decodeDownText,
  encodeJsonMessage,
  encodeRecordFrame,
  frameSeq,
  type DeviceKind,
} from './device-frames.js';

const kind = fc.constantFrom<DeviceKind>('telemetry', 'report', 'result');

void test('a record frame has the bytes that the protocol names', (t) => {
  const frame = encodeRecordFrame('report', 17, 1732112345678, Buffer.from('{"valve":"open"}'));
  t.equal(frame.readUInt32LE(0), 20 + 16);
  t.same([...frame.subarray(4, 8)], [2, 0, 0, 0]);
  t.equal(frame.readDoubleLE(8), 17);
  t.equal(frame.readDoubleLE(16), 1732112345678);
  t.equal(frame.toString('utf8', 24), '{"valve":"open"}');
  t.equal(frameSeq(frame), 17);
  t.end();
});

void test('records become one JSON object, or an array where there are several, with their payload untouched', (t) => {
  const keys: Readonly<Record<DeviceKind, string>> = { telemetry: 'data', report: 'report', result: 'result' };
  fc.assert(
    fc.property(
      fc.array(fc.tuple(kind, fc.maxSafeNat(), fc.jsonValue()), { minLength: 1, maxLength: 5 }),
      (records) => {
        const frames = records.map(([name, seq, data]) => {
          return encodeRecordFrame(name, seq, 5, Buffer.from(JSON.stringify(data)));
        });
        const value = JSON.parse(encodeJsonMessage(frames).toString()) as unknown;
        const expected = records.map(([name, seq, data]) => {
          return { seq, time: 5, [keys[name]]: JSON.parse(JSON.stringify(data)) as unknown };
        });
        t.same(value, records.length === 1 ? expected[0] : expected);
      },
    ),
    { numRuns: 50 },
  );
  t.end();
});

void test('what an edge says is read alike from JSON and from binary', (t) => {
  const command = { id: 'c-1', name: 'reboot', data: {}, expires: 1732112999999 };
  const hello = { device: 'press-1', window: 1048576 };
  const cases = [
    [{ ack: 19 }, encodeDown(1, 19)],
    [
      { error: { code: 'bad_json', message: 'here', seq: 18 } },
      encodeDown(2, 18, { code: 'bad_json', message: 'here' }),
    ],
    [{ error: { code: 'bad_json', message: 'here' } }, encodeDown(2, 0, { code: 'bad_json', message: 'here' })],
    [{ delta: { valve: 'closed' }, version: 7 }, encodeDown(3, 7, { valve: 'closed' })],
    [
      { error: { code: 'refused', message: 'away', get: 'shadow' } },
      encodeDown(2, 0, { code: 'refused', message: 'away', get: 'shadow' }),
    ],
    [{ command }, encodeDown(4, 0, command)],
    [{ shadow: { state: {} } }, encodeDown(6, 0, { state: {} })],
    [{ shadow: null }, encodeDown(6, 0, null)],
    [{ hello }, encodeDown(5, 0, hello)],
  ] as const;
  for (const [value, frame] of cases) {
    t.same(decodeDownText(Buffer.from(JSON.stringify(value))), decodeDownFrame(frame));
  }
  t.same(decodeDownFrame(encodeDown(5, 0, hello)), { type: 'hello', device: 'press-1', windowBytes: 1048576 });
  t.same(decodeDownFrame(encodeDown(2, 18, { code: 'x', message: 'y' })), {
    type: 'error',
    code: 'x',
    message: 'y',
    seq: 18,
  });
  t.match(decodeDownText(Buffer.from('{"error":{"code":"refused","message":"away","get":"shadow"}}')), {
    get: 'shadow',
    seq: undefined,
  });
  t.end();
});

void test('whatever else comes is bad_frame and nothing worse', (t) => {
  const bad = [
    '',
    '{',
    '[]',
    'null',
    '{}',
    '{"ack":"1"}',
    '{"ack":-1}',
    '{"ack":1.5}',
    '{"hello":1}',
    '{"error":{}}',
    '{"shadow":1}',
  ];
  for (const text of bad) t.throws(() => decodeDownText(Buffer.from(text)), { code: 'bad_frame' }, text);
  t.throws(() => decodeDownFrame(Buffer.alloc(15)), { code: 'bad_frame' });
  t.throws(() => decodeDownFrame(encodeDown(9, 1)), { code: 'bad_frame' });
  t.throws(() => decodeDownFrame(encodeDown(1, NaN)), { code: 'bad_frame' });
  const survives = (decode: () => unknown): void => {
    try {
      decode();
    } catch (error) {
      if ((error as { code?: string }).code !== 'bad_frame') throw error;
    }
  };
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 64 }), fc.integer({ min: 0, max: 6 }), (bytes, type) => {
      survives(() => decodeDownFrame(Buffer.from(bytes)));
      survives(() => decodeDownFrame(Buffer.concat([Buffer.from([type]), bytes])));
      survives(() => decodeDownText(Buffer.from(bytes)));
    }),
    { numRuns: 500 },
  );
  fc.assert(fc.property(fc.json(), (text) => survives(() => decodeDownText(Buffer.from(text)))));
  t.end();
});
