import { test } from 'tap';
import { BINARY_PROTOCOL, binaryRecord, type Closed } from '../../test/support/device-socket.js';
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
function twice(code: string): FrameCase['errors'] {
  return [
    [code, 2],
    [code, 10],
  ];
}

const MALFORMED: Closed = { code: 1007, reason: 'malformed frame' };

const binaryCases: readonly FrameCase[] = [
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
  ...(
    [
      ['an array', 2, '[1]', 'bad_record', /"report" must be an object or null/],
      ['text', 2, '"open"', 'bad_record', /"report" must be an object or null/],
      ['no JSON', 2, '{"valve":', 'bad_json', /the payload is not JSON/],
      ['no UTF-8', 2, Buffer.from([0x7b, 0xff, 0x7d]), 'bad_json', /the payload is not UTF-8/],
      ['too deep', 2, `{"a":${'['.repeat(16)}${']'.repeat(16)}}`, 'bad_json', /17 levels deep; the limit is 16/],
      ['null in an array', 2, '{"a":[0,{"b":[null]}]}', 'bad_record', /report\.a\[1\]\.b\[0\] is null/],
      ['no object', 3, 'null', 'bad_record', /"result" must be an object/],
      ['without an id', 3, '{"status":"SUCCEEDED"}', 'bad_record', /must name its command/],
      ['with a number as its id', 3, '{"id":1}', 'bad_record', /must name its command/],
      ['not JSON', 3, 'done', 'bad_json', /the payload is not JSON/],
    ] as const
  ).map(([what, kind, payload, code, says]) => ({
    name: `a ${kind === 2 ? 'report' : 'result'} that is ${what} is ${code}`,
    frames: around((seq) => binaryRecord({ seq, kind, payload })),
    errors: twice(code),
    stored: [1, 8, 9, 11],
    says,
  })),
  {
    name: 'null as a report is stored',
    frames: [binaryRecord({ seq: 1, kind: 2, payload: 'null' })],
    errors: [],
    stored: [1],
  },
  ...(
    [
      ['a payload', { payload: '{}' }],
      ['a time', { payload: '', time: 1 }],
      ['a reserved byte that is not 0', { payload: '', reserved: [0, 0, 1] }],
    ] as const
  ).map(([what, bad]) => ({
    name: `a question with ${what} is bad_record`,
    frames: [binary(1), binaryRecord({ seq: 0, kind: 6, ...bad }), binary(9)],
    errors: [['bad_record']] as const,
    stored: [1, 9],
    says: /a question \(kind 6\) has seq 0, time 0 and no payload/,
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
    frames: around((seq) => binaryRecord({ seq, payload: textOf(PAYLOAD_LIMIT + 1) })),
    errors: twice('too_large'),
    stored: [1, 8, 9, 11],
    says: /the payload has 65537 bytes; the limit is 65536/,
  },
  {
    name: 'a binary payload as long as it may be is stored',
    frames: [binaryRecord({ seq: 1, payload: textOf(PAYLOAD_LIMIT) })],
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

void test('binary frames: what is wrong is said, and the rest is stored', async (t) => {
  await runFrameCases(t, edge, BINARY_PROTOCOL, binaryCases);
});

void test('binary records are stored as they are, several to a frame', async (t) => {
  const device = await edge.connect('verbatim-binary', { protocols: [BINARY_PROTOCOL] });
  const payload = Buffer.from([0x22, 0xff, 0x00, 0x22]);
  const result = '{"id" :"c-1"}';
  device.send(
    frame(
      binaryRecord({ seq: 1, kind: 1, time: 12.5, payload: '{"a":1}' }),
      binaryRecord({ seq: 2, kind: 2, payload: '{}' }),
      binaryRecord({ seq: 3, kind: 3, time: MAX_TIME_MS, payload: result }),
    ),
  );
  device.send(binaryRecord({ seq: 4, kind: 2, payload: '{"valve": "open"}' }));
  device.send(binaryRecord({ seq: 5, payload }));
  await device.untilAcked(5);
  const records = (await edge.stored('verbatim-binary')).filter(({ seq }) => seq > 0);
  t.same(
    records.map(({ kind, seq }) => [kind, seq]),
    [
      [1, 1],
      [2, 2],
      [3, 3],
      [2, 4],
      [1, 5],
    ],
  );
  t.same(
    records.map(({ payload: stored }) => stored),
    ['{"a":1}', '{}', result, '{"valve": "open"}', payload.toString()],
  );
  t.equal(records[0]?.timeMs, 12.5);
  t.equal(records[1]?.timeMs, records[1]?.receivedMs, 'time 0 is the clock of the edge');
  await device.close();
});

void test('the edge ends cleanly', async (t) => {
  t.equal(await edge.stop(), 0);
});
