import fc from 'fast-check';
import t, { test } from 'tap';
import { Kind, RecordCursor } from '../../shared/batch.js';
import type { Context } from '../../shared/context.js';
import { Session } from '../../shared/database.js';
import { makeBatch, type TestRecord } from '../../test/support/deliveries.js';
import { TestPostgres, silent } from '../../test/support/postgres.js';
import { query } from '../../test/support/storage.js';
import { copyInto } from './copy.js';
import { END_TIME_MS, MIN_TIME_MS, RowEncoder, UnencodableRow } from './rows.js';
import { migrate } from './schema.js';

const postgres = await TestPostgres.start();
t.teardown(() => postgres.stop());

const COPY = 'copy telemetry (device_id, type, site, time, seq, received, data) from stdin (format binary)';
const TWO_53 = 2 ** 53 - 1;

const deviceId = fc.stringMatching(/^[A-Za-z0-9][A-Za-z0-9._:-]{0,127}$/);
const timeMs = fc.oneof(
  fc.integer({ min: 0, max: 4_000_000_000_000 }),
  fc.integer({ min: MIN_TIME_MS, max: 9_007_199_254_740_991 }),
  // Fractions that a double of ms and PostgreSQL's µs both hold.
  fc.integer({ min: 0, max: 4_000_000_000_000 }).map((ms) => ms + 0.5),
  fc.constantFrom(0, -1, MIN_TIME_MS, 946_684_800_000, 946_684_799_999, END_TIME_MS - 1_000_000),
);
const wellFormed = fc.string({ unit: 'binary' }).map((text) => text.replaceAll('\0', ''));
const record: fc.Arbitrary<TestRecord> = fc.record({
  kind: fc.constantFrom(Kind.telemetry, Kind.report, Kind.result),
  device: deviceId,
  seq: fc.oneof(fc.integer({ min: 1, max: TWO_53 }), fc.constantFrom(0, -1, TWO_53, -TWO_53, 2 ** 32, 2 ** 32 - 1)),
  timeMs,
  receivedMs: timeMs,
  payload: fc
    .dictionary(wellFormed, fc.oneof(wellFormed, fc.integer(), fc.boolean()))
    .map((data) => JSON.stringify(data)),
});
const text = fc.option(wellFormed);

interface Row {
  readonly device_id: string;
  readonly seq: string;
  readonly time_us: string;
  readonly received_us: string;
  readonly type: string | null;
  readonly site: string | null;
  readonly data: unknown;
}

/** µs since 1970, as PostgreSQL has them: exact, as text. */
function toUs(ms: number): string {
  const whole = Math.floor(ms);
  return `${BigInt(whole) * 1_000n + BigInt(Math.round((ms - whole) * 1_000))}`;
}

function wrapped({ kind, payload }: TestRecord): unknown {
  const data: unknown = JSON.parse(payload.toString());
  return kind === Kind.report ? { report: data } : kind === Kind.result ? { result: data } : data;
}

void test('what is encoded is what PostgreSQL reads', async (t) => {
  const session = await Session.open(postgres.url, 'test');
  await migrate(session, { timescale: 'off', retentionMs: 1, log: silent });
  const context = fc.record({ type: text, site: text });
  const encoder = new RowEncoder();
  const property = fc.asyncProperty(
    fc.array(record, { minLength: 1, maxLength: 50 }),
    context,
    async (list, joined) => {
      // The key is not of interest here: each record has its own device.
      const records = list.map((each, index) => ({ ...each, device: `${index}${each.device}`.slice(0, 128) }));
      const batches = [records.slice(0, 20), records.slice(20, 20), records.slice(20)].map((part, index) =>
        makeBatch({ epoch: 1, offset: index + 1 }, part),
      );
      await session.client.query('truncate telemetry');
      encoder.begin(batches);
      encoder.join({ get: (): Context => ({ ...joined }) });
      t.equal(await copyInto(session, COPY, encoder.chunks('telemetry')), records.length);
      const { rows } = await session.client.query<Row>(
        `select device_id, seq, (extract(epoch from time) * 1000000)::numeric(30)::text as time_us,
         (extract(epoch from received) * 1000000)::numeric(30)::text as received_us, type, site, data from telemetry`,
      );
      const found = new Map(rows.map((row) => [row.device_id, row]));
      for (const each of records) {
        t.strictSame(found.get(each.device), {
          device_id: each.device,
          seq: `${each.seq}`,
          time_us: toUs(each.timeMs),
          received_us: toUs(each.receivedMs!),
          ...joined,
          data: wrapped(each),
        });
      }
    },
  );
  await fc.assert(property, { numRuns: 60 });
  await session.close();
});

void test('the ends of what a timestamptz holds are stored, and what is beyond is refused', async (t) => {
  const url = await postgres.createDatabase('ends');
  const session = await Session.open(url, 'test');
  await migrate(session, { timescale: 'off', retentionMs: 1, log: silent });
  const encoder = new RowEncoder();
  const copy = async (timeMs: number): Promise<number> => {
    encoder.begin([makeBatch({ epoch: 1, offset: 1 }, [{ device: 'a', seq: 1, timeMs, receivedMs: 0, payload: '1' }])]);
    encoder.join({ get: () => ({ type: null, site: null }) });
    return copyInto(await Session.open(url, 'test'), COPY, encoder.chunks('telemetry'));
  };
  for (const timeMs of [MIN_TIME_MS, END_TIME_MS - 1_024]) t.equal(await copy(timeMs), 1);
  for (const timeMs of [MIN_TIME_MS - 1, END_TIME_MS, Infinity, -Infinity, Number.NaN]) {
    await t.rejects(copy(timeMs), UnencodableRow);
  }
  t.strictSame(await query(url, `select time::text from telemetry order by 1`), [
    { time: '294276-12-31 23:59:58.976+00' },
    { time: '4714-11-24 00:00:00+00 BC' },
  ]);
  await session.close();
});

void test('a device is found again by the bytes of its id, among many', (t) => {
  const encoder = new RowEncoder();
  const records = Array.from({ length: 6_000 }, (_, index) => ({
    device: `device-${index % 3_000}`,
    seq: index,
    timeMs: 0,
    payload: '0',
  }));
  const batches = [records.slice(0, 3_000), records.slice(3_000)].map((part, index) =>
    makeBatch({ epoch: 1, offset: index + 1 }, part),
  );
  encoder.begin(batches);
  t.equal(encoder.rows, 6_000);
  t.equal(encoder.deviceIds.length, 3_000);
  t.equal(new Set(encoder.deviceIds).size, 3_000);
  encoder.join({ get: (id) => ({ type: id, site: null }) });
  const bytes = Buffer.concat([...encoder.chunks('telemetry')].map((chunk) => Buffer.from(chunk)));
  const row = bytes.subarray(bytes.indexOf('device-2999'));
  t.equal(row.toString('latin1', 15, 26), 'device-2999', 'its type is its own');
  encoder.begin(batches.slice(0, 1));
  t.equal(encoder.deviceIds.length, 3_000, 'a second merge begins anew');
  t.end();
});

void test('a type that would not fit a row is refused, not cut off', (t) => {
  const encoder = new RowEncoder();
  const batch = makeBatch({ epoch: 1, offset: 1 }, [{ device: 'a', seq: 1, timeMs: 0, payload: '0' }]);
  encoder.begin([batch]);
  encoder.join({ get: () => ({ type: 'x'.repeat(20_000), site: null }) });
  t.throws(() => [...encoder.chunks('telemetry')], /16 KiB/);
  const record = new RecordCursor(batch);
  record.next();
  t.match(encoder.refusal(record, 0), /16 KiB/);
  t.end();
});
