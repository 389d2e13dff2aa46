import { randomBytes } from 'node:crypto';
import fc from 'fast-check';
import { test } from 'tap';
import {
  BATCH_HEADER_BYTES,
  BatchBuilder,
  checkBatch,
  checkBatchHeader,
  Kind,
  MAX_BATCH_BYTES,
  MAX_DEVICE_ID_BYTES,
  MAX_PAYLOAD_BYTES,
  readBatchHeader,
  RECORD_HEADER_BYTES,
  RecordCursor,
  recordCount,
  stampBatch,
} from './batch.js';
import { HoldfastError } from './errors.js';

interface Told {
  readonly kind: number;
  readonly deviceId: string;
  readonly seq: number;
  readonly timeMs: number;
  readonly receivedMs: number;
  readonly payload: string;
}

const position = fc.record({ epoch: fc.maxSafeNat(), offset: fc.maxSafeNat() }, { noNullPrototype: true });
const told: fc.Arbitrary<Told> = fc.record({
  kind: fc.constantFrom(...Object.values(Kind)),
  deviceId: fc.stringMatching(/^[A-Za-z0-9][A-Za-z0-9._:-]{0,127}$/),
  seq: fc.maxSafeNat(),
  timeMs: fc.double({ noNaN: true }),
  receivedMs: fc.maxSafeNat(),
  payload: fc.oneof(fc.json(), fc.string({ unit: 'binary' })),
});

function build(records: readonly Told[], at = { epoch: 7, offset: 3 }): Buffer {
  const builder = new BatchBuilder();
  for (const { kind, deviceId, seq, timeMs, receivedMs, payload } of records) {
    // The payload as a part of something larger, as in a frame.
    const frame = Buffer.from(`<${payload}>`);
    const id = Buffer.from(deviceId, 'latin1');
    if (!builder.add(kind as Kind, id, seq, timeMs, receivedMs, frame, 1, frame.length - 1)) throw new Error('full');
  }
  const batch = builder.build();
  stampBatch(batch, at, 1_700_000_000_000);
  return batch;
}

function read(batch: Buffer): Told[] {
  const found: Told[] = [];
  for (const cursor = new RecordCursor(batch); cursor.next();) {
    const { kind, deviceId, seq, timeMs, receivedMs } = cursor;
    found.push({ kind, deviceId, seq, timeMs, receivedMs, payload: cursor.payload.toString() });
  }
  return found;
}

/** A copy that lies between other bytes, so that reading past it shows. */
function amidst(batch: Buffer): Buffer {
  return Buffer.concat([Buffer.alloc(64, 0xff), batch, Buffer.alloc(64, 0xff)]).subarray(64, 64 + batch.length);
}

function isBadBatch(work: () => unknown): boolean {
  try {
    work();
    return false;
  } catch (error) {
    if (error instanceof HoldfastError && error.code === 'bad_batch' && !error.retry) return true;
    throw error;
  }
}

void test('what was put into a batch is read out of it', (t) => {
  const property = fc.property(fc.array(told, { maxLength: 20 }), position, (records, at) => {
    const batch = amidst(build(records, at));
    const header = checkBatch(batch);
    t.strictSame(header, { position: at, records: records.length, committedMs: 1_700_000_000_000 });
    t.strictSame(readBatchHeader(batch), header);
    t.equal(recordCount(batch), records.length);
    const found = read(batch);
    if (JSON.stringify(found) !== JSON.stringify(records.map(normal))) t.strictSame(found, records.map(normal));
  });
  fc.assert(property, { numRuns: 200 });
  t.end();
});

/** -0 is 0 in JSON, and text that is no UTF-8 does not survive being text. */
function normal(record: Told): Told {
  return { ...record, payload: Buffer.from(record.payload).toString() };
}

void test('a batch with any byte changed, any byte missing or any byte more is refused', (t) => {
  const batch = build([
    { kind: 1, deviceId: 'press-1', seq: 1, timeMs: 2, receivedMs: 3, payload: '{"temperature":80.5}' },
    { kind: 2, deviceId: 'p', seq: 2, timeMs: 2, receivedMs: 3, payload: '' },
  ]);
  for (let at = 0; at < batch.length; at++) {
    for (let bit = 0; bit < 8; bit++) {
      const flipped = amidst(batch);
      flipped[at]! ^= 1 << bit;
      if (!isBadBatch(() => checkBatch(flipped))) t.fail(`bit ${bit} of byte ${at}`);
      if (!isBadBatch(() => checkBatchHeader(flipped))) t.fail(`bit ${bit} of byte ${at}, header`);
    }
    if (!isBadBatch(() => checkBatch(amidst(batch).subarray(0, at)))) t.fail(`cut off at ${at}`);
  }
  for (const more of [1, 4, 32, 1_000]) {
    t.ok(
      isBadBatch(() => checkBatch(Buffer.concat([batch, Buffer.alloc(more)]))),
      `${more} bytes more`,
    );
  }
  t.ok(
    isBadBatch(() => checkBatch(Buffer.alloc(MAX_BATCH_BYTES + 1))),
    'larger than any',
  );
  t.end();
});

/** Gives bytes a valid header and checksum, so that only the walk can see what is wrong. */
function sealed(records: number, body: Buffer): Buffer {
  const batch = Buffer.concat([new BatchBuilder().build(), body]);
  batch.writeUInt32LE(records, 8);
  stampBatch(batch, { epoch: 1, offset: 1 }, 1);
  return batch;
}

void test('records that do not fill their batch are refused, whatever its checksum says', (t) => {
  const batch = build([{ kind: 1, deviceId: 'ab', seq: 1, timeMs: 2, receivedMs: 3, payload: 'xyz' }]);
  const record = batch.subarray(BATCH_HEADER_BYTES);
  t.equal(checkBatch(sealed(1, record)).records, 1);
  const edited = (edit: (copy: Buffer) => void): Buffer => {
    const copy = Buffer.from(record);
    edit(copy);
    return sealed(1, copy);
  };
  const cases: Record<string, Buffer> = {
    'one record less than said': sealed(2, record),
    'one record more than said': sealed(1, Buffer.concat([record, record])),
    'cut off in its header': sealed(1, record.subarray(0, RECORD_HEADER_BYTES - 1)),
    'cut off in its payload': sealed(1, record.subarray(0, -1)),
    'larger than the batch': edited((copy) => copy.writeUInt32LE(0xffff_ffff, 0)),
    'smaller than its header': edited((copy) => copy.writeUInt32LE(3, 0)),
    'of size 0': edited((copy) => copy.writeUInt32LE(0, 0)),
    'with an id longer than itself': edited((copy) => copy.writeUInt8(200, 5)),
  };
  for (const [name, bad] of Object.entries(cases)) {
    t.ok(
      isBadBatch(() => checkBatch(amidst(bad))),
      name,
    );
  }
  for (const [epoch, offset] of [
    [Number.NaN, 1],
    [1, -1],
    [0.5, 1],
    [1, Infinity],
  ] as const) {
    const nowhere = Buffer.from(batch);
    stampBatch(nowhere, { epoch, offset }, 1);
    t.ok(
      isBadBatch(() => checkBatch(nowhere)),
      `at ${epoch}:${offset}`,
    );
  }
  t.end();
});

void test('a cursor on any bytes ends or throws, and never leaves them', (t) => {
  const bytes = fc.uint8Array({ maxLength: 400 }).map((array) => Buffer.from(array));
  const nearly = fc
    .tuple(fc.array(told, { minLength: 1, maxLength: 5 }), fc.nat(), fc.nat(255))
    .map(([records, at, value]) => {
      const batch = Buffer.from(build(records));
      batch[BATCH_HEADER_BYTES + (at % (batch.length - BATCH_HEADER_BYTES))] = value;
      return batch;
    });
  const property = fc.property(fc.oneof(bytes, nearly), (noise) => {
    const batch = amidst(noise);
    let steps = 0;
    const walk = (): void => {
      for (const cursor = new RecordCursor(batch); cursor.next();) {
        if (++steps > 1_000) throw new Error('it does not end');
        if (cursor.payloadStart > cursor.payloadEnd || cursor.payloadEnd > batch.length) throw new Error('it left');
        if (cursor.deviceId.length + cursor.payload.length > batch.length) throw new Error('it read too much');
        if (cursor.kind > 255) throw new Error('no kind');
        if (typeof (cursor.seq + cursor.timeMs + cursor.receivedMs) !== 'number') throw new Error('no number');
      }
    };
    if (!isBadBatch(walk)) walk();
    isBadBatch(() => checkBatch(batch));
  });
  fc.assert(property, { numRuns: 2_000 });
  t.end();
});

void test('a record that does not fit leaves the batch as it was', (t) => {
  const builder = new BatchBuilder(200);
  const id = Buffer.from('d');
  const payload = Buffer.from('0123456789');
  let added = 0;
  while (builder.add(Kind.telemetry, id, added, 1, 2, payload, 0, payload.length)) added++;
  t.equal(added, Math.floor((200 - BATCH_HEADER_BYTES) / (RECORD_HEADER_BYTES + 11)));
  t.equal(builder.records, added);
  const batch = builder.build();
  stampBatch(batch, { epoch: 1, offset: 2 }, 3);
  t.equal(checkBatch(batch).records, added);
  t.equal(batch.length, builder.length);
  builder.reset();
  t.equal(builder.length, BATCH_HEADER_BYTES);
  t.equal(builder.records, 0);
  t.ok(builder.add(Kind.report, id, 1, 1, 2, payload, 2, 5));
  const next = builder.build();
  stampBatch(next, { epoch: 1, offset: 3 }, 3);
  checkBatch(next);
  t.strictSame(
    read(next).map((record) => record.payload),
    ['234'],
  );
  t.end();
});

void test('the largest payload under the longest id fits a batch, one byte more does not', (t) => {
  const id = Buffer.alloc(MAX_DEVICE_ID_BYTES, 'x');
  const payload = randomBytes(MAX_PAYLOAD_BYTES + 1);
  const builder = new BatchBuilder();
  t.notOk(builder.add(Kind.telemetry, id, 1, 1, 1, payload, 0, MAX_PAYLOAD_BYTES + 1));
  t.ok(builder.add(Kind.telemetry, id, 1, 1, 1, payload, 0, MAX_PAYLOAD_BYTES));
  const batch = builder.build();
  stampBatch(batch, { epoch: 1, offset: 1 }, 1);
  t.equal(batch.length, MAX_BATCH_BYTES);
  checkBatch(batch);
  const cursor = new RecordCursor(batch);
  t.ok(cursor.next());
  t.ok(cursor.payload.equals(payload.subarray(0, -1)));
  t.notOk(cursor.next());
  t.end();
});
