import { test } from 'tap';
import { Session } from '../../shared/database.js';
import { silent } from '../../test/support/postgres.js';
import { TestStorage, batch, query, records } from '../../test/support/storage.js';
import { needsTimescale, refreshMinutes, timescaleDatabase } from '../../test/support/timescale.js';
import { maintain } from './maintenance.js';
import type { SchemaOptions } from './schema.js';

const DAY = 86_400_000;
const NOON = Date.UTC(2026, 10, 20, 12);
const options: SchemaOptions = { timescale: 'auto', retentionMs: 30 * DAY, log: silent };

async function maintainAt(url: string, nowMs: number): Promise<void> {
  const session = await Session.open(url, 'test');
  await maintain(session, nowMs, options);
  await session.close();
}

function chunks(url: string): Promise<{ day: string }[]> {
  return query(
    url,
    `select to_char(range_start at time zone 'utc', 'YYYY-MM-DD') as day from timescaledb_information.chunks
    where hypertable_name = 'telemetry' order by range_start`,
  );
}

void test('with TimescaleDB telemetry is a hypertable by day, compressed after a week', needsTimescale, async (t) => {
  const url = await timescaleDatabase(t);
  const test = await TestStorage.start(url, { timescale: 'auto' });
  const rows = [...records('a', 1, 100), ...records('b', 1, 100)];
  test.source.push(batch(1, [...rows, { device: 'a', seq: 1_000, timeMs: 0, payload: '{}' }]));
  await test.source.untilAcked(1);
  t.strictSame(await chunks(url), [{ day: '1970-01-01' }, { day: '2026-11-20' }]);
  const jobs = await query(
    url,
    `select proc_name, config->>'compress_after' as after from timescaledb_information.jobs
    where hypertable_name = 'telemetry'`,
  );
  t.strictSame(jobs, [{ proc_name: 'policy_compression', after: '7 days' }]);
  // A resend into a compressed chunk is a duplicate as everywhere.
  await query(url, `select compress_chunk(c) from show_chunks('telemetry') c`);
  test.source.push(batch(2, [...rows, ...records('a', 500, 10)]));
  await test.source.untilAcked(2);
  t.strictSame(await query(url, 'select count(*)::int as n from telemetry'), [{ n: 211 }]);
  t.equal(await test.metric('holdfast_duplicates_total'), 200);
  await test.stop();
});

void test(
  'with TimescaleDB telemetry_minute is a continuous aggregate with the same columns',
  needsTimescale,
  async (t) => {
    const url = await timescaleDatabase(t);
    const test = await TestStorage.start(url, { timescale: 'auto' });
    test.source.push(batch(1, records('a', 1, 100)));
    await test.source.untilAcked(1);
    await refreshMinutes(url);
    const rows = await query(
      url,
      `select device_id, type, site, records::int, first_seq::int, last_seq::int, delay_seconds::int from telemetry_minute`,
    );
    t.strictSame(rows, [
      { device_id: 'a', type: null, site: null, records: 100, first_seq: 1, last_seq: 100, delay_seconds: 0 },
    ]);
    await test.stop();
  },
);

void test('with TimescaleDB retention drops chunks by both clocks', needsTimescale, async (t) => {
  const url = await timescaleDatabase(t);
  const test = await TestStorage.start(url, { timescale: 'auto' });
  const later = NOON + 40 * DAY;
  const at = (seq: number, timeMs: number, receivedMs: number) => ({
    device: 'a',
    seq,
    timeMs,
    receivedMs,
    payload: '{}',
  });
  test.source.push(batch(1, [at(1, NOON, NOON), at(2, 0, later - DAY), at(3, later, later)]));
  await test.source.untilAcked(1);
  await query(url, `select compress_chunk(c) from show_chunks('telemetry', older_than => '2026-11-22'::timestamptz) c`);
  await maintainAt(url, later);
  t.strictSame(await chunks(url), [{ day: '1970-01-01' }, { day: '2026-12-30' }]);
  await maintainAt(url, later + 31 * DAY);
  t.strictSame(await chunks(url), []);
  await test.stop();
});

void test('with STORAGE_TIMESCALE=off the extension is left alone', needsTimescale, async (t) => {
  const url = await timescaleDatabase(t);
  const test = await TestStorage.start(url, { timescale: 'off' });
  t.strictSame(await query(url, `select relkind::text from pg_class where relname = 'telemetry'`), [{ relkind: 'p' }]);
  await test.stop();
});
