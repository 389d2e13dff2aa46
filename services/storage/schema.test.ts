import t, { test } from 'tap';
import { Session } from '../../shared/database.js';
import { TestPostgres, silent } from '../../test/support/postgres.js';
import { query } from '../../test/support/storage.js';
import { SCHEMA_VERSION, migrate, type SchemaOptions } from './schema.js';

const postgres = await TestPostgres.start();
t.teardown(() => postgres.stop());

const options: SchemaOptions = { timescale: 'auto', retentionMs: 86_400_000, log: silent };

async function migrateOn(url: string): Promise<void> {
  const session = await Session.open(url, 'test');
  try {
    await migrate(session, options);
  } finally {
    await session.close();
  }
}

void test('the tables are those of the design', async (t) => {
  const url = await postgres.createDatabase('design');
  await migrateOn(url);
  const columns = await query<{ name: string; columns: string }>(
    url,
    `select c.relname as name, string_agg(a.attname || ' ' || format_type(a.atttypid, a.atttypmod), ', ' order by attnum) as columns
     from pg_class c join pg_attribute a on a.attrelid = c.oid and attnum > 0
     where c.relname in ('telemetry', 'devices', 'consumer_positions', 'dead_letters', 'telemetry_minute') group by 1 order by 1`,
  );
  t.strictSame(Object.fromEntries(columns.map(({ name, columns }) => [name, columns])), {
    telemetry:
      'time timestamp with time zone, device_id text, seq bigint, received timestamp with time zone, type text, site text, data jsonb',
    devices:
      'device_id text, type text, site text, latitude double precision, longitude double precision, labels jsonb',
    consumer_positions: 'queue_id uuid, consumer text, epoch bigint, offset bigint',
    dead_letters:
      'received timestamp with time zone, device_id text, seq bigint, time timestamp with time zone, payload bytea, reason text',
    telemetry_minute:
      'minute timestamp with time zone, device_id text, type text, site text, records bigint, first_seq bigint, last_seq bigint, delay_seconds numeric',
  });
  const keys = await query(
    url,
    `select conrelid::regclass::text as name, pg_get_constraintdef(oid) as key from pg_constraint
     where contype = 'p' and conparentid = 0 and connamespace = 'public'::regnamespace order by 1`,
  );
  t.strictSame(keys, [
    { name: 'consumer_positions', key: 'PRIMARY KEY (queue_id, consumer)' },
    { name: 'devices', key: 'PRIMARY KEY (device_id)' },
    { name: 'holdfast_schema', key: 'PRIMARY KEY (version)' },
    { name: 'telemetry', key: 'PRIMARY KEY (device_id, "time", seq)' },
  ]);
});

void test('made twice, and by many at once, the schema is the same', async (t) => {
  const url = await postgres.createDatabase('race');
  await Promise.all(Array.from({ length: 8 }, () => migrateOn(url)));
  await migrateOn(url);
  const versions = await query<{ version: number }>(url, 'select version from holdfast_schema order by 1');
  t.strictSame(
    versions.map(({ version }) => version),
    Array.from({ length: SCHEMA_VERSION }, (_, index) => index + 1),
  );
});

void test('a schema of an older version gets the steps it lacks and keeps its rows', async (t) => {
  const url = await postgres.createDatabase('older');
  await migrateOn(url);
  await query(url, `insert into devices (device_id, type) values ('a', 'press')`);
  // As a program that knew step 1 only has left it.
  await query(url, 'drop function holdfast_devices_changed cascade; delete from holdfast_schema where version > 1');
  await migrateOn(url);
  t.strictSame(await query(url, 'select device_id, type from devices'), [{ device_id: 'a', type: 'press' }]);
  t.strictSame(await query(url, `select count(*)::int as n from pg_trigger where tgname like 'holdfast_%'`), [
    { n: 5 },
  ]);
});

void test('a step that fails leaves nothing behind, and is tried again', async (t) => {
  const url = await postgres.createDatabase('half');
  await query(url, 'create table dead_letters (something int)');
  await t.rejects(migrateOn(url), /dead_letters/);
  t.strictSame(
    await query(url, `select to_regclass('telemetry') as telemetry, to_regclass('holdfast_schema') as version`),
    [{ telemetry: null, version: null }],
  );
  await query(url, 'drop table dead_letters');
  await migrateOn(url);
});

void test('a schema newer than the program is refused with what to do', async (t) => {
  const url = await postgres.createDatabase('newer');
  await migrateOn(url);
  await query(url, 'insert into holdfast_schema (version) values (99)');
  await t.rejects(migrateOn(url), { code: 'start_failed', retry: false, message: /version 99.*update the program/ });
});

void test('a user who may not create is served by a schema that is there', async (t) => {
  const url = await postgres.createDatabase('rights');
  await migrateOn(url);
  await query(url, `create role limited login; grant select on holdfast_schema to limited`);
  await t.resolves(migrateOn(url.replace('holdfast@', 'limited@')));
});

void test('records of a minute are counted in telemetry_minute', async (t) => {
  const url = await postgres.createDatabase('minute');
  await migrateOn(url);
  await query(
    url,
    `insert into telemetry (time, device_id, seq, received, type, site, data)
     select '2026-11-20 12:00:00+00'::timestamptz + n * interval '20 s', 'a', n, '2026-11-20 12:00:02+00'::timestamptz + n * interval '20 s',
       'press', null, '1' from generate_series(0, 3) n`,
  );
  const rows = await query(
    url,
    `select extract(minute from minute)::int as minute, device_id, type, site, records::int, first_seq::int, last_seq::int,
       delay_seconds::float8 from telemetry_minute order by 1`,
  );
  const same = { device_id: 'a', type: 'press', site: null, delay_seconds: 2 };
  t.strictSame(rows, [
    { minute: 0, ...same, records: 3, first_seq: 0, last_seq: 2 },
    { minute: 1, ...same, records: 1, first_seq: 3, last_seq: 3 },
  ]);
});
