import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import t, { test } from 'tap';
import { Session } from '../../shared/database.js';
import { TestPostgres, silent } from '../../test/support/postgres.js';
import { TestStorage, batch, countRows, query, records } from '../../test/support/storage.js';
import { Maintenance, maintain } from './maintenance.js';
import { PARTITIONS_LOCK, partitionName } from './partitions.js';
import type { SchemaOptions } from './schema.js';

const postgres = await TestPostgres.start();
t.teardown(() => postgres.stop());

const DAY = 86_400_000;
const NOON = Date.UTC(2026, 10, 20, 12);
const options: SchemaOptions = { timescale: 'off', retentionMs: 30 * DAY, log: silent };

async function maintainAt(url: string, nowMs: number, retentionMs = 30 * DAY): Promise<void> {
  const session = await Session.open(url, 'test');
  try {
    await maintain(session, nowMs, { ...options, retentionMs });
  } finally {
    await session.close();
  }
}

interface Placed {
  readonly table: string;
  readonly seqs: number[];
}

/** Which rows are in which partition. */
function placed(url: string): Promise<Placed[]> {
  const sql = `select tableoid::regclass::text as table, array_agg(seq::int order by seq) as seqs from telemetry group by 1 order by 1`;
  return query<Placed>(url, sql);
}

function at(
  seq: number,
  timeMs: number,
  receivedMs = timeMs,
): { device: string; seq: number; timeMs: number; receivedMs: number; payload: string } {
  return { device: 'a', seq, timeMs, receivedMs, payload: '{}' };
}

void test('a row has the partition of its day; one of 1970 or 2100 lands in the default', async (t) => {
  const url = await postgres.createDatabase('days');
  await maintainAt(url, NOON);
  const test = await TestStorage.start(url);
  const day = Math.floor(NOON / DAY);
  const rows = [
    at(1, 0),
    at(2, Date.UTC(2100, 0, 1)),
    at(3, NOON),
    at(4, day * DAY),
    at(5, day * DAY - 1),
    at(6, NOON + 3 * DAY),
  ];
  test.source.push(batch(1, rows));
  await test.source.untilAcked(1);
  t.strictSame(await placed(url), [
    { table: 'telemetry_20261119', seqs: [5] },
    { table: 'telemetry_20261120', seqs: [3, 4] },
    { table: 'telemetry_20261123', seqs: [6] },
    { table: 'telemetry_default', seqs: [1, 2] },
  ]);
  await test.stop();
});

void test('a day whose rows are in the default partition already is made by moving them', async (t) => {
  const url = await postgres.createDatabase('moving');
  await maintainAt(url, NOON);
  const test = await TestStorage.start(url);
  const early = Array.from({ length: 200 }, (_, index) => at(index + 1, NOON + 5 * DAY + index));
  test.source.push(batch(1, [...early, at(1_000, Date.UTC(2100, 0, 1))]));
  await test.source.untilAcked(1);
  t.match(await placed(url), [{ table: 'telemetry_default', seqs: { length: 201 } }]);
  await maintainAt(url, NOON + 2 * DAY);
  const after = await placed(url);
  t.strictSame(
    after.map(({ table, seqs }) => [table, seqs.length]),
    [
      ['telemetry_20261125', 200],
      ['telemetry_default', 1],
    ],
  );
  // The key still holds: the same records again are duplicates.
  test.source.push(batch(2, early));
  await test.source.untilAcked(2);
  t.equal(await test.metric('holdfast_duplicates_total'), 200);
  t.strictSame(await placed(url), after);
  await test.stop();
});

void test('rows that are being stored while their day is made are neither lost nor taken for bad', async (t) => {
  const url = await postgres.createDatabase('making');
  await maintainAt(url, NOON);
  const test = await TestStorage.start(url, { limits: { rows: 20, bytes: 2 ** 20, waitMs: 1 } });
  const days = 40;
  // Every batch has a row of each day that is still to be made, and some duplicates for the slow path.
  for (let offset = 1; offset <= 150; offset++) {
    const ahead = Array.from({ length: days }, (_, day) => at(offset, NOON + (4 + day) * DAY));
    test.source.push(batch(offset, offset % 3 === 0 ? [...ahead, ...ahead] : ahead));
  }
  for (let day = 1; day <= days; day++) await maintainAt(url, NOON + day * DAY, 365 * DAY);
  await test.source.untilAcked(150);
  const { rows } = await countRows(url);
  t.equal(rows, 150 * days);
  t.strictSame(await query(url, 'select * from dead_letters'), []);
  t.ok(
    (await placed(url)).some(({ table }) => table !== 'telemetry_default'),
    'days were made',
  );
  await test.stop();
});

void test('a row whose day is made in the middle of the slow path is not taken for bad', async (t) => {
  const url = await postgres.createDatabase('slow');
  const test = await TestStorage.start(url);
  // After a merge with duplicates the next one takes the slow path, too; one row, so that nothing is left to bisect.
  test.source.push(batch(1, [at(1, 0), at(1, 0)]));
  await test.source.untilAcked(1);
  const session = await Session.open(url, 'test');
  const { client } = session;
  await client.query('begin');
  await client.query('select pg_advisory_xact_lock($1)', [PARTITIONS_LOCK]);
  await client.query('lock table telemetry_default in access exclusive mode');
  test.source.push(batch(2, [at(2, NOON)]));
  const waiting = `select from pg_stat_activity where application_name = 'holdfast storage' and wait_event_type = 'Lock'
    and datname = current_database()`;
  while ((await query(url, waiting)).length === 0) await sleep(5);
  await client.query('create table telemetry_20261120 (like telemetry including indexes)');
  await client.query(`alter table telemetry attach partition telemetry_20261120
    for values from ('2026-11-20 00:00:00+00') to ('2026-11-21 00:00:00+00')`);
  await client.query('commit');
  await session.close();
  await test.source.untilAcked(2);
  t.strictSame(await placed(url), [
    { table: 'telemetry_20261120', seqs: [2] },
    { table: 'telemetry_default', seqs: [1] },
  ]);
  t.strictSame(await query(url, 'select reason from dead_letters'), []);
  await test.stop();
});

void test('retention drops the days that are over, and never a row that has just been received', async (t) => {
  const url = await postgres.createDatabase('retention');
  await maintainAt(url, NOON);
  const test = await TestStorage.start(url);
  const later = NOON + 40 * DAY;
  const rows = [
    at(1, NOON),
    at(2, NOON - DAY, later - DAY), // a device whose clock is slow: stored yesterday
    at(3, NOON - DAY),
    at(4, 0), // in the default partition
    at(5, NOON + 2 * DAY),
  ];
  test.source.push(batch(1, rows));
  await test.source.untilAcked(1);
  await maintainAt(url, later);
  t.strictSame(await placed(url), [
    { table: 'telemetry_20261119', seqs: [2, 3] },
    { table: 'telemetry_default', seqs: [4] },
  ]);
  await maintainAt(url, later + 31 * DAY);
  t.strictSame(await placed(url), [{ table: 'telemetry_default', seqs: [4] }]);
  await test.stop();
});

void test('the service makes the days of now by itself', async (t) => {
  const url = await postgres.createDatabase('service');
  const maintenance = new Maintenance({ url, ...options });
  await maintenance.start();
  const today = partitionName(Math.floor(Date.now() / DAY));
  const session = await Session.open(url, 'test');
  for (let there = false; !there;) {
    const { rows } = await session.client.query<{ there: boolean }>('select to_regclass($1) is not null as there', [
      today,
    ]);
    there = rows[0]!.there;
  }
  await maintenance.stop();
  const ended = once(session.client, 'end');
  await session.close();
  await ended;
  t.pass('its partition is there');
});

void test('a storage without maintenance keeps its rows in the default partition', async (t) => {
  const url = await postgres.createDatabase('none');
  const test = await TestStorage.start(url);
  test.source.push(batch(1, records('a', 1, 10)));
  await test.source.untilAcked(1);
  t.match(await placed(url), [{ table: 'telemetry_default', seqs: { length: 10 } }]);
  await test.stop();
});
