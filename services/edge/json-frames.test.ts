import { test } from 'tap';
import { binaryRecord, JSON_PROTOCOL } from '../../test/support/device-socket.js';
import { TestEdge } from '../../test/support/edge.js';
import {
  FRAME_LIMIT,
  MAX_TIME_MS,
  PAYLOAD_LIMIT,
  runFrameCases,
  textOf,
  type FrameCase,
} from '../../test/support/frame-cases.js';

const edge = await TestEdge.start();

function nested(depth: number): string {
  return '['.repeat(depth) + ']'.repeat(depth);
}

/** A record of whichever kind; its payload is the seq. */
function good(seq: number): { seq: number; data: number } {
  return { seq, data: seq };
}

/** A bad frame between two good ones. */
function between(bad: unknown): unknown[] {
  return [good(1), bad, good(9)];
}

const jsonCases: readonly FrameCase[] = [
  ...(
    [
      ['is cut off', '{"seq":2,"data":{"a":1}'],
      ['is empty', ''],
      ['is a bare word', 'hello'],
      ['has something behind it', '{"seq":2,"data":1}}'],
      ['starts with a byte order mark', '\ufeff{"seq":2,"data":1}'],
      ['holds NaN', '{"seq":2,"data":NaN}'],
      ['holds a control character in a string', '{"seq":2,"data":"\u0000"}'],
      ['is cut off in a deep array', '['.repeat(200_000)],
      ['is an array that is cut off after good records', '[{"seq":2,"data":1},{"seq":3,"data":'],
    ] as const
  ).map(([what, bad]) => ({
    name: `a frame that ${what} is bad_json`,
    frames: between(bad),
    errors: [['bad_json']] as const,
    stored: [1, 9],
    says: /the frame of \d+ bytes is not JSON: ./,
  })),
  {
    name: 'a first frame that is no JSON does not decide who counts',
    frames: ['{', good(7)],
    errors: [['bad_json']],
    stored: [7],
  },
  {
    name: 'a payload one level too deep is bad_json',
    frames: between(`{"seq":2,"data":${nested(17)}}`),
    errors: [['bad_json', 2]],
    stored: [1, 9],
    says: /17 levels deep; the limit is 16/,
  },
  {
    name: 'a payload as deep as it may be is stored',
    frames: [`{"seq":1,"data":${nested(16)}}`],
    errors: [],
    stored: [1],
  },
  ...[1, 'text', null, true, []].map((bad) => ({
    name: `${JSON.stringify(bad)} among records is bad_record`,
    frames: [good(1), [good(2), bad, good(3)], good(4)],
    errors: [['bad_record']] as const,
    stored: [1, 2, 3, 4],
    says: /record 2 of 3: a record is an object/,
  })),
  {
    name: 'an array of no records is nothing',
    frames: [good(1), [], good(2)],
    errors: [],
    stored: [1, 2],
  },
  ...(
    [
      ['without a kind', { seq: 2 }, /exactly one of "data", "report" and "result"/],
      ['of two kinds', { seq: 2, data: 1, report: {} }, /exactly one of/],
      ['whose report is no object', { seq: 2, report: [1] }, /"report" must be an object or null/],
      ['whose report has null in an array', { seq: 2, report: { a: { b: [1, null] } } }, /report\.a\.b\[1\] is null/],
      [
        'whose report has null deep in an array',
        { seq: 2, report: { a: [0, [{ b: null }]] } },
        /a\[1\]\[0\]\.b is null/,
      ],
      ['that asks too', { seq: 2, data: 1, get: 'shadow' }, /a record has no "get"/],
      ['that asks with a seq', { seq: 2, get: 'shadow' }, /a record has no "get"/],
      ['whose result is text', { seq: 2, result: 'done' }, /"result" must be an object/],
      ['whose result names no command', { seq: 2, result: { status: 'SUCCEEDED' } }, /must name its command/],
      ['whose result names a number', { seq: 2, result: { id: 1 } }, /must name its command/],
    ] as const
  ).map(([what, bad, says]) => ({
    name: `a record ${what} is bad_record`,
    frames: between(bad),
    errors: [['bad_record', 2]] as const,
    stored: [1, 9],
    says,
  })),
  ...(
    [
      ['text', '"2"'],
      ['0', '0'],
      ['negative', '-2'],
      ['a fraction', '2.5'],
      ['over the whole numbers of a double', '9007199254740992'],
      ['infinite', '1e400'],
      ['null', 'null'],
      ['an object', '{"a":{}}'],
      ['an array, very deep', nested(100_000)],
    ] as const
  ).map(([what, seq]) => ({
    name: `a seq that is ${what} is bad_seq`,
    frames: between(`{"seq":${seq},"data":1}`),
    errors: [['bad_seq']] as const,
    stored: [1, 9],
    says: /"seq" is .{1,60}; it must be a whole number of at least 1/,
  })),
  {
    name: 'a seq that falls or stays is bad_seq, also within a frame',
    frames: [good(5), good(4), good(5), [good(6), good(6), good(7)], good(9)],
    errors: [
      ['bad_seq', 4],
      ['bad_seq', 5],
      ['bad_seq', 6],
    ],
    stored: [5, 6, 7, 9],
    says: /must be greater than \d, the one before/,
  },
  {
    name: 'a record without a seq on a connection that gave them is bad_seq',
    frames: between({ data: 1 }),
    errors: [['bad_seq']],
    stored: [1, 9],
    says: /"seq" is missing/,
  },
  {
    name: 'a seq on a connection where the edge counts is bad_seq',
    frames: [{ data: 1 }, good(7), { data: 3 }],
    errors: [['bad_seq', 2]],
    stored: [1, 3],
    says: /has let the edge count/,
  },
  {
    name: 'where the edge counts, every record counts, good or bad, and so does a frame that cannot be read',
    frames: [
      { data: 1 },
      '{',
      [{ data: 3 }, 4, { time: -1, data: 5 }],
      Buffer.from('binary'),
      'x'.repeat(FRAME_LIMIT + 1),
      { data: 8 },
    ],
    errors: [
      ['bad_json', 2],
      ['bad_record', 4],
      ['bad_time', 5],
      ['refused', 6],
      ['too_large', 7],
    ],
    stored: [1, 3, 8],
  },
  {
    name: 'the largest seq is stored',
    frames: [good(Number.MAX_SAFE_INTEGER)],
    errors: [],
    stored: [Number.MAX_SAFE_INTEGER],
  },
  ...['"now"', '-1', String(MAX_TIME_MS + 1), '1e400', 'null', '{}', nested(100_000)].map((time) => ({
    name: `the time ${time.slice(0, 20)} is bad_time`,
    frames: between(`{"seq":2,"time":${time},"data":1}`),
    errors: [['bad_time', 2]] as const,
    stored: [1, 9],
    says: /"time" is .{1,60}; it must be milliseconds since 1970, from 0 to 253402300799999/,
  })),
  {
    name: 'a record that was refused may be sent again with the same seq',
    frames: [good(1), { seq: 2, time: -1, data: 2 }, good(2)],
    errors: [['bad_time', 2]],
    stored: [1, 2],
  },
  {
    name: 'a payload one byte too long is too_large',
    frames: between(`{"seq":2,"data":${textOf(PAYLOAD_LIMIT + 1)}}`),
    errors: [['too_large', 2]],
    stored: [1, 9],
    says: /the payload has 65537 bytes; the limit is 65536/,
  },
  {
    name: 'a payload as long as it may be is stored',
    frames: [`{"seq":1,"data":${textOf(PAYLOAD_LIMIT)}}`],
    errors: [],
    stored: [1],
  },
  {
    name: 'a frame one byte too long is too_large',
    frames: between(JSON.stringify(good(2)).padEnd(FRAME_LIMIT + 1)),
    errors: [['too_large']],
    stored: [1, 9],
    says: /the frame has 262145 bytes; the limit is 262144/,
  },
  {
    name: 'a frame as long as it may be is stored',
    frames: [JSON.stringify(good(1)).padEnd(FRAME_LIMIT)],
    errors: [],
    stored: [1],
  },
  {
    name: 'a binary frame on a JSON session is refused',
    frames: between(binaryRecord({ seq: 2 })),
    errors: [['refused']],
    stored: [1, 9],
    says: /speaks holdfast\.v1\.json; a binary frame is not for it/,
  },
  ...['true', 'null', '"state"', '{}'].map((get) => ({
    name: `a question for ${get} is bad_record, and no record`,
    frames: [{ data: 1 }, `{"get":${get}}`, { data: 2 }, { time: -1, data: 3 }],
    errors: [['bad_record'], ['bad_time', 3]] as const,
    stored: [1, 2],
    says: /there is one question to ask|"time"/,
  })),
  {
    name: 'null as a report is stored',
    frames: [{ seq: 1, report: null }],
    errors: [],
    stored: [1],
  },
  {
    name: 'null in the objects of a report is stored',
    frames: [{ seq: 1, report: { a: null, b: { c: null, d: [1, { e: 'null' }] } } }],
    errors: [],
    stored: [1],
  },
  {
    name: 'a report one level too deep is bad_json',
    frames: between(`{"seq":2,"report":{"a":${nested(16)}}}`),
    errors: [['bad_json', 2]],
    stored: [1, 9],
    says: /17 levels deep; the limit is 16/,
  },
  {
    name: 'every bad record of a frame gets its own error, its neighbours are stored',
    frames: [[good(1), { seq: 2 }, good(3), { seq: 0, data: 1 }, good(4), { seq: 5, time: 'x', data: 1 }, good(6)]],
    errors: [['bad_record', 2], ['bad_seq'], ['bad_time', 5]],
    stored: [1, 3, 4, 6],
  },
];

void test('JSON frames: what is wrong is said, and the rest is stored', async (t) => {
  await runFrameCases(t, edge, JSON_PROTOCOL, jsonCases);
});

void test('a frame far over the limit ends its session, and the edge stays up', async (t) => {
  const device = await edge.connect('far-over');
  device.send(good(1));
  await device.untilAcked(1);
  device.send('x'.repeat(4 * FRAME_LIMIT + 1));
  const { code } = await device.closed();
  t.ok(code === 1009 || code === 1006, `closed with ${code}`);
  t.same(await edge.storedSeqs('far-over'), [1]);
  t.ok(edge.process.running);
});

void test('a text frame that is not UTF-8 ends its session, and the edge stays up', async (t) => {
  const device = await edge.connect('not-utf8');
  device.send(good(1));
  await device.untilAcked(1);
  device.sendText(Buffer.from([0x7b, 0xff, 0x7d]));
  const { code } = await device.closed();
  t.ok(code === 1007 || code === 1006, `closed with ${code}`);
  t.same(await edge.storedSeqs('not-utf8'), [1]);
  t.ok(edge.process.running);
});

void test('payloads are stored as the device wrote them, with their kinds and times', async (t) => {
  const device = await edge.connect('verbatim');
  const beforeMs = Date.now();
  device.send('{"seq":1,"data": {"a": 1.0000000000000000000001, "b":"\\u00e9\u00e9\\/"} }');
  device.send('{"d\\u0061ta":[1, 2],"time":0,"seq":2}');
  device.send('{"data":"first","seq":3,"time":253402300799999,"data":"last"}');
  device.send('[{"seq":4,"report":{"valve":"open"},"time":1732112345678.5} , {"result":{"id":"c-1"},"seq":5}]');
  device.send('{"seq":6,"data":null,"data2":"}","note":{"data":7}}');
  await device.untilAcked(6);
  const afterMs = Date.now();
  const records = (await edge.stored('verbatim')).filter(({ seq }) => seq > 0);
  t.same(
    records.map(({ kind, payload }) => [kind, payload]),
    [
      [1, '{"a": 1.0000000000000000000001, "b":"\\u00e9\u00e9\\/"}'],
      [1, '[1, 2]'],
      [1, '"last"'],
      [2, '{"valve":"open"}'],
      [3, '{"id":"c-1"}'],
      [1, 'null'],
    ],
  );
  const times = records.map(({ timeMs }) => timeMs);
  t.same(times.slice(1, 4), [0, MAX_TIME_MS, 1732112345678.5]);
  for (const { receivedMs } of records) t.ok(receivedMs >= beforeMs && receivedMs <= afterMs);
  t.equal(times[0], records[0]?.receivedMs, "the edge's clock where the device gives no time");
  await device.close();
});

void test('after all of this the edge still takes records, and ends cleanly', async (t) => {
  const device = await edge.connect('last');
  device.send(good(1));
  await device.untilAcked(1);
  await device.close();
  t.equal(await edge.stop(), 0);
});
