import { deepStrictEqual, equal, ok } from 'node:assert/strict';
import fc from 'fast-check';
import { test } from 'tap';
import { binaryRecord } from '../../test/support/device-socket.js';
import { binaryFrame, jsonFrame, mutated, walk } from '../../test/support/fuzz-frames.js';
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
        const { problem, asks } = readJsonFrame(frame, heard.session, LIMITS, NOW_MS, (record) => {
          checkTaken(frame, record, heard.session);
          takes++;
          return true;
        });
        const whole = parsed(frame);
        const expected = whole !== undefined && Array.isArray(whole.value) ? whole.value.length : 1;
        equal(problem, undefined);
        // A question may be in it, once or often: it is neither.
        if (asks) ok(takes + heard.errors.length < expected);
        else equal(takes + heard.errors.length, expected);
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

void test('the binary decoder answers every record of any frame with a take or an error, and never throws', (t) => {
  let taken = 0;
  fc.assert(
    fc.property(fc.array(mutated(binaryFrame), { minLength: 1, maxLength: 4 }), (frames) => {
      const heard = new Heard();
      for (const frame of frames) {
        heard.errors.length = 0;
        let takes = 0;
        const { problem, asks } = readBinaryFrame(
          frame,
          heard.session,
          LIMITS,
          NOW_MS,
          (kind, seq, timeMs, start, end) => {
            checkTaken(frame, { kind, seq, timeMs, start, end }, heard.session);
            takes++;
            return true;
          },
        );
        const { records, fills } = walk(frame);
        if (asks) ok(takes + heard.errors.length < records);
        else equal(takes + heard.errors.length, records);
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
    t.match(readJsonFrame(frame, json.session, LIMITS, NOW_MS, takesNone).problem ?? 'none', says);
    t.equal(json.errors.length, Math.min(count, MAX_FRAME_ERRORS + 1));
    const binary = new Heard();
    const records = Buffer.concat(Array<Buffer>(count).fill(binaryRecord({ seq: 0 })));
    t.match(readBinaryFrame(records, binary.session, LIMITS, NOW_MS, takesNone).problem ?? 'none', says);
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
