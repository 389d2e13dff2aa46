import fc from 'fast-check';
import { test } from 'tap';
import { HoldfastError } from '../../shared/errors.js';
import { makePayload, MIN_PAYLOAD_BYTES } from './payload.js';
import { FRAME_BYTES, RecordFrames } from './record-frames.js';
import { readAnswer } from './upgrade-answer.js';
import { makeFrame, MAX_HEADER_BYTES, Opcode, readFrames, writeFrameHeader } from './websocket-frames.js';

interface Read {
  readonly opcode: number;
  readonly payload: Buffer;
}

/** Reads one client's frame, as a server does: a second reading of RFC 6455, by hand. */
function readClientFrame(frame: Buffer): Read {
  const short = frame[1]! & 0x7f;
  const lengthBytes = short < 126 ? 0 : short === 126 ? 2 : 8;
  const length =
    lengthBytes === 0 ? short : lengthBytes === 2 ? frame.readUInt16BE(2) : Number(frame.readBigUInt64BE(2));
  const keyAt = 2 + lengthBytes;
  const payload = frame.subarray(keyAt + 4).map((byte, index) => byte ^ frame[keyAt + (index % 4)]!);
  if ((frame[1]! & 0x80) === 0 || payload.length !== length || frame[0]! >> 4 !== 8) throw new Error('a bad frame');
  return { opcode: frame[0]! & 0x0f, payload: Buffer.from(payload) };
}

/** [seq, time, payload] of each record in a message. */
function recordsOf({ opcode, payload }: Read): [number, number, string][] {
  if (opcode === Opcode.text) {
    const value = JSON.parse(payload.toString()) as { seq: number; time: number; data: unknown };
    const list = Array.isArray(value) ? (value as (typeof value)[]) : [value];
    return list.map(({ seq, time, data }) => [seq, time, JSON.stringify(data)]);
  }
  const records: [number, number, string][] = [];
  for (let at = 0; at < payload.length;) {
    const end = at + 4 + payload.readUInt32LE(at);
    if (payload.readUInt32LE(at + 4) !== 1) throw new Error('it is not telemetry');
    records.push([payload.readDoubleLE(at + 8), payload.readDoubleLE(at + 16), payload.toString('utf8', at + 24, end)]);
    at = end;
  }
  return records;
}

void test('a run of records is what its frames say, whole and in order, in frames that every edge takes', (t) => {
  const run = fc.record({
    firstSeq: fc.integer({ min: 1, max: 2 ** 50 }),
    count: fc.integer({ min: 1, max: 700 }),
    firstTimeMs: fc.integer({ min: 0, max: 2 ** 42 }),
    intervalMs: fc.integer({ min: 1, max: 100_000 }),
  });
  const property = fc.property(
    fc.constantFrom('json' as const, 'binary' as const),
    fc.integer({ min: MIN_PAYLOAD_BYTES, max: 3_000 }),
    fc.array(run, { minLength: 1, maxLength: 3 }),
    fc.boolean(),
    (protocol, bytes, runs, isTaken) => {
      const payload = makePayload(bytes);
      if (payload.length !== bytes) throw new Error('the payload has another size');
      const frames = new RecordFrames(protocol, payload);
      // A frame that was not taken at once must not be written again by the next.
      const written: Buffer[] = [];
      for (const each of runs) {
        frames.write(each, (frame) => {
          written.push(isTaken ? Buffer.from(frame) : frame);
          return isTaken;
        });
      }
      const found = written.flatMap((frame) => recordsOf(readClientFrame(frame)));
      const expected = runs.flatMap(({ firstSeq, count, firstTimeMs, intervalMs }) =>
        Array.from({ length: count }, (_, index) => [
          firstSeq + index,
          firstTimeMs + index * intervalMs,
          payload.toString(),
        ]),
      );
      const isSame = JSON.stringify(found) === JSON.stringify(expected);
      return isSame && written.every((frame) => frame.length <= FRAME_BYTES + MAX_HEADER_BYTES);
    },
  );
  fc.assert(property, { numRuns: 60 });
  t.end();
});

void test('a single record of any size is one frame', (t) => {
  for (const bytes of [MIN_PAYLOAD_BYTES, 101, 102, 125, 126, 65_500, 65_536]) {
    for (const protocol of ['json', 'binary'] as const) {
      let written: Buffer | undefined;
      const frames = new RecordFrames(protocol, makePayload(bytes));
      frames.write({ firstSeq: 7, count: 1, firstTimeMs: 5, intervalMs: 1 }, (frame) => {
        written = frame;
        return true;
      });
      t.strictSame(recordsOf(readClientFrame(written!)), [[7, 5, makePayload(bytes).toString()]]);
    }
  }
  t.end();
});

/** A server's frame, unmasked. */
function serverFrame(opcode: number, payload: Uint8Array): Buffer {
  const { length } = payload;
  const header =
    length < 126
      ? Buffer.from([0x80 | opcode, length])
      : length < 65_536
        ? Buffer.from([0x80 | opcode, 126, length >> 8, length & 255])
        : Buffer.from([
            0x80 | opcode,
            127,
            0,
            0,
            0,
            0,
            length >>> 24,
            (length >> 16) & 255,
            (length >> 8) & 255,
            length & 255,
          ]);
  return Buffer.concat([header, payload]);
}

void test("a server's frames are read whole, wherever the stream is cut", (t) => {
  const frame = fc.tuple(
    fc.constantFrom(1, 2, 8, 9, 10),
    fc.oneof(fc.uint8Array({ maxLength: 300 }), fc.constant(new Uint8Array(70_000))),
  );
  const property = fc.property(
    fc.array(frame, { maxLength: 5 }),
    fc.array(fc.nat(400), { maxLength: 12 }),
    (list, cuts) => {
      const stream = Buffer.concat(list.map(([opcode, payload]) => serverFrame(opcode, payload)));
      const found: [number, string][] = [];
      let rest: Buffer = Buffer.alloc(0);
      let from = 0;
      for (const size of [...cuts, stream.length]) {
        const bytes = Buffer.concat([rest, stream.subarray(from, from + size)]);
        from = Math.min(stream.length, from + size);
        const used = readFrames(bytes, 0, bytes.length, (opcode, payload) => {
          found.push([opcode, payload.toString('hex')]);
          return true;
        });
        rest = bytes.subarray(used);
      }
      const expected = list.map(([opcode, payload]) => [opcode, Buffer.from(payload).toString('hex')]);
      return rest.length === 0 && JSON.stringify(found) === JSON.stringify(expected);
    },
  );
  fc.assert(property, { numRuns: 100 });
  t.end();
});

void test('any bytes at all are read or refused, and nothing is read beyond them', (t) => {
  const property = fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
    const buffer = Buffer.from(bytes);
    try {
      const used = readFrames(buffer, 0, buffer.length, () => true);
      return used >= 0 && used <= buffer.length;
    } catch (error) {
      return error instanceof HoldfastError && error.code === 'bad_frame';
    }
  });
  fc.assert(property, { numRuns: 2_000 });
  t.throws(() => readFrames(Buffer.from([0x82, 0x81, 0, 0, 0, 0, 1]), 0, 7, () => true), /masked/);
  t.throws(() => readFrames(Buffer.from([0x02, 0x01, 1]), 0, 3, () => true), /fragmented/);
  t.throws(() => readFrames(Buffer.from([0x82, 127, 0, 0, 1, 0, 0, 0, 0, 0]), 0, 10, () => true), /bytes/);
  t.end();
});

void test('a header ends where it is asked to, and a frame of nothing is a frame', (t) => {
  const buffer = Buffer.alloc(MAX_HEADER_BYTES, 0xff);
  t.equal(writeFrameHeader(buffer, MAX_HEADER_BYTES, Opcode.binary, 2 ** 33), 0);
  t.equal(buffer.readBigUInt64BE(2), 2n ** 33n);
  t.strictSame(readClientFrame(makeFrame(Opcode.pong, new Uint8Array())), { opcode: 10, payload: Buffer.alloc(0) });
  t.end();
});

void test('the answer to an upgrade says who is let in, who is to come later, and who never', (t) => {
  const answer = (status: string, headers = ''): string => `HTTP/1.1 ${status}\r\n${headers}\r\nwhy\n`;
  t.equal(readAnswer('HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n', 'a'), undefined);
  const letIn = 'HTTP/1.1 101 Switching Protocols\r\nsec-WebSocket-accept:  key= \r\n\r\nmore';
  t.strictSame(readAnswer(letIn, 'key='), { bytes: letIn.length - 4, refusal: undefined });
  t.equal(readAnswer(letIn, 'other')?.refusal?.isRefused, true);
  t.match(readAnswer(answer('429 Too Many Requests', 'Retry-After: 2\r\n'), 'a')?.refusal, {
    retryAfterMs: 2_000,
    isRefused: false,
    reason: 'the edge answered 429 Too Many Requests: why',
  });
  t.match(readAnswer(answer('503 Service Unavailable'), 'a')?.refusal, { retryAfterMs: undefined, isRefused: false });
  t.match(readAnswer(answer('401 Unauthorized'), 'a')?.refusal, { isRefused: true });
  t.equal(readAnswer(answer('503 No', 'Retry-After: 99999999\r\n'), 'a')?.refusal?.retryAfterMs, 3_600_000);
  t.equal(readAnswer('SSH-2.0-OpenSSH\r\n\r\n', 'a')?.refusal?.isRefused, true);
  t.end();
});
