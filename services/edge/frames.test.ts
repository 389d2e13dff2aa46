import { test } from 'tap';
import { BINARY_PROTOCOL, binaryRecord, JSON_PROTOCOL, type Closed } from '../../test/support/device-socket.js';
import { TestEdge } from '../../test/support/edge.js';

/** What is wrong in the middle of good records: the edge says so, stores the rest and stays up. */
interface Case {
  readonly name: string;
  /** Sent in this order, each as one frame. */
  readonly frames: readonly unknown[];
  /** Codes of the errors, with the seq where it is known. */
  readonly errors: readonly (readonly [code: string, seq?: number])[];
  /** The seqs that are stored, in order; the last is acked. */
  readonly stored: readonly number[];
  /** What an error's message must say. */
  readonly says?: RegExp;
  /** How the edge ends the session; without it the session stays. */
  readonly closed?: Closed;
}

const KIB = 1024;
const PAYLOAD_LIMIT = 64 * KIB;
const FRAME_LIMIT = 256 * KIB;
const MAX_TIME_MS = 253_402_300_799_999;

const edge = await TestEdge.start();

function text(bytes: number): string {
  return JSON.stringify('x'.repeat(bytes - 2));
}

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

const jsonCases: readonly Case[] = [
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
      ['whose report is no object', { seq: 2, report: [1] }, /"report" must be an object/],
      ['whose report is null', { seq: 2, report: null }, /"report" must be an object/],
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
    frames: between(`{"seq":2,"data":${text(PAYLOAD_LIMIT + 1)}}`),
    errors: [['too_large', 2]],
    stored: [1, 9],
    says: /the payload has 65537 bytes; the limit is 65536/,
  },
  {
    name: 'a payload as long as it may be is stored',
    frames: [`{"seq":1,"data":${text(PAYLOAD_LIMIT)}}`],
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
  {
    name: 'every bad record of a frame gets its own error, its neighbours are stored',
    frames: [[good(1), { seq: 2 }, good(3), { seq: 0, data: 1 }, good(4), { seq: 5, time: 'x', data: 1 }, good(6)]],
    errors: [['bad_record', 2], ['bad_seq'], ['bad_time', 5]],
    stored: [1, 3, 4, 6],
  },
];

/** A binary record; its payload is the seq. */
function binary(seq: number): Buffer {
  return binaryRecord({ seq, payload: String(seq) });
}

function frame(...records: readonly Buffer[]): Buffer {
  return Buffer.concat(records);
}

/** A bad record between two good ones of one frame, and in a frame of its own between others. */
function around(bad: (seq: number) => Buffer): Buffer[] {
  return [frame(binary(1), bad(2), binary(8)), binary(9), bad(10), binary(11)];
}

/** The errors for a record that is bad but for its seq, sent by `around`. */
function twice(code: string): Case['errors'] {
  return [
    [code, 2],
    [code, 10],
  ];
}

const MALFORMED: Closed = { code: 1007, reason: 'malformed frame' };

const binaryCases: readonly Case[] = [
  ...[0, 4, 5, 6, 255].map((kind) => ({
    name: `the kind ${kind} is bad_record`,
    frames: around((seq) => binaryRecord({ seq, kind })),
    errors: twice('bad_record'),
    stored: [1, 8, 9, 11],
    says: new RegExp(`the record at byte \\d+: kind ${kind}: 1 is telemetry`),
  })),
  ...([0, 1, 2] as const).map((index) => ({
    name: `the reserved byte ${index} that is not 0 is bad_record`,
    frames: around((seq) => binaryRecord({ seq, reserved: [0, 0, 0].with(index, 1) as [number, number, number] })),
    errors: twice('bad_record'),
    stored: [1, 8, 9, 11],
    says: /three bytes after the kind must be 0/,
  })),
  {
    name: 'a record without a payload is bad_record',
    frames: around((seq) => binaryRecord({ seq, payload: '' })),
    errors: twice('bad_record'),
    stored: [1, 8, 9, 11],
    says: /no payload/,
  },
  ...[0, -1, 2.5, 2 ** 53, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, Number.NaN].map((seq) => ({
    name: `the seq ${seq} is bad_seq`,
    frames: around(() => binaryRecord({ seq })),
    errors: [['bad_seq'], ['bad_seq']] as const,
    stored: [1, 8, 9, 11],
    says: new RegExp(`"seq" is ${seq}; it must be a whole number of at least 1`),
  })),
  {
    name: 'a binary seq that falls is bad_seq',
    frames: [frame(binary(3), binary(2), binary(3), binary(4)), binary(4), binary(5)],
    errors: [
      ['bad_seq', 2],
      ['bad_seq', 3],
      ['bad_seq', 4],
    ],
    stored: [3, 4, 5],
    says: /must be greater than \d, the one before/,
  },
  ...[-1, MAX_TIME_MS + 1, Number.POSITIVE_INFINITY, Number.NaN].map((time) => ({
    name: `the binary time ${time} is bad_time`,
    frames: around((seq) => binaryRecord({ seq, time })),
    errors: twice('bad_time'),
    stored: [1, 8, 9, 11],
    says: new RegExp(`"time" is ${time}; it must be milliseconds since 1970`),
  })),
  {
    name: 'a binary payload one byte too long is too_large',
    frames: around((seq) => binaryRecord({ seq, payload: text(PAYLOAD_LIMIT + 1) })),
    errors: twice('too_large'),
    stored: [1, 8, 9, 11],
    says: /the payload has 65537 bytes; the limit is 65536/,
  },
  {
    name: 'a binary payload as long as it may be is stored',
    frames: [binaryRecord({ seq: 1, payload: text(PAYLOAD_LIMIT) })],
    errors: [],
    stored: [1],
  },
  {
    name: 'a binary frame one byte too long is too_large',
    frames: [binary(1), Buffer.alloc(FRAME_LIMIT + 1), binary(9)],
    errors: [['too_large']],
    stored: [1, 9],
    says: /the frame has 262145 bytes/,
  },
  {
    name: 'a text frame on a binary session is refused',
    frames: [binary(1), '{"seq":2,"data":1}', binary(9)],
    errors: [['refused']],
    stored: [1, 9],
    says: /speaks holdfast\.v1\.binary; a text frame is not for it/,
  },
  ...(
    [
      [
        'whose last record is cut off',
        frame(binary(2), Buffer.alloc(3)),
        /3 bytes at byte 25: a record has at least 24/,
      ],
      ['whose size leaves it', frame(binary(2), binaryRecord({ seq: 3, size: 23 })), /at byte 25 says it has 27 bytes/],
      [
        'whose size is the largest',
        frame(binary(2), binaryRecord({ seq: 3, size: 2 ** 32 - 1 })),
        /says it has 42949672/,
      ],
      ['whose size is under a header', frame(binary(2), binaryRecord({ seq: 3, size: 19 })), /says it has 23 bytes/],
      ['whose size is 0', frame(binary(2), binaryRecord({ seq: 3, size: 0 })), /says it has 4 bytes/],
    ] as const
  ).map(([what, bad, says]) => ({
    name: `a frame ${what} is malformed: what was good before it is acked, then the session is closed`,
    frames: [binary(1), bad, binary(9)],
    errors: [['bad_record']] as const,
    stored: [1, 2],
    says,
    closed: MALFORMED,
  })),
  {
    name: 'an empty frame is malformed',
    frames: [binary(1), Buffer.alloc(0), binary(9)],
    errors: [['bad_record']],
    stored: [1],
    says: /the frame is empty/,
    closed: MALFORMED,
  },
  {
    name: 'a malformed frame with nothing before it closes the session at once',
    frames: [Buffer.from('{"seq":1}')],
    errors: [['bad_record']],
    stored: [],
    says: /9 bytes at byte 0/,
    closed: MALFORMED,
  },
];

let devices = 0;

for (const [protocol, cases] of [
  [JSON_PROTOCOL, jsonCases],
  [BINARY_PROTOCOL, binaryCases],
] as const) {
  void test(protocol, async (t) => {
    for (const { name, frames, errors, stored, says, closed } of cases) {
      await t.test(name, async (t) => {
        const deviceId = `frames-${++devices}`;
        const device = await edge.connect(deviceId, { protocols: [protocol] });
        for (const each of frames) device.send(each);
        if (closed === undefined) await device.until(() => device.errors.length >= errors.length);
        if (closed === undefined) await device.untilAcked(stored.at(-1) ?? 0);
        const end = closed === undefined ? undefined : await device.closed();
        t.same(end, closed);
        t.same(
          device.errors.map(({ code, seq }) => (seq === undefined ? [code] : [code, seq])),
          errors,
        );
        t.equal(device.acked, stored.at(-1) ?? 0);
        for (const { message } of device.errors) t.match(message, says ?? /./);
        t.same(await edge.storedSeqs(deviceId), stored);
        t.notOk(device.isClosed && closed === undefined, 'the session stays');
        await device.close();
      });
    }
    t.ok(edge.process.running);
  });
}

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

void test('binary records are stored as they are, several to a frame', async (t) => {
  const device = await edge.connect('verbatim-binary', { protocols: [BINARY_PROTOCOL] });
  const payload = Buffer.from([0x22, 0xff, 0x00, 0x22]);
  device.send(
    frame(
      binaryRecord({ seq: 1, kind: 1, time: 12.5, payload: '{"a":1}' }),
      binaryRecord({ seq: 2, kind: 2, payload: '{}' }),
      binaryRecord({ seq: 3, kind: 3, time: MAX_TIME_MS, payload }),
    ),
  );
  await device.untilAcked(3);
  const records = (await edge.stored('verbatim-binary')).filter(({ seq }) => seq > 0);
  t.same(
    records.map(({ kind, seq }) => [kind, seq]),
    [
      [1, 1],
      [2, 2],
      [3, 3],
    ],
  );
  t.same(
    records.map(({ payload: stored }) => stored),
    ['{"a":1}', '{}', payload.toString()],
  );
  t.equal(records[0]?.timeMs, 12.5);
  t.equal(records[1]?.timeMs, records[1]?.receivedMs, 'time 0 is the clock of the edge');
  await device.close();
});

void test('after all of this the edge still takes records, and ends cleanly', async (t) => {
  const device = await edge.connect('last');
  device.send(good(1));
  await device.untilAcked(1);
  await device.close();
  t.equal(await edge.stop(), 0);
});
