import { setTimeout as sleep } from 'node:timers/promises';
import t, { test } from 'tap';
import { TestPostgres, silent } from '../test/support/postgres.js';
import { createSchema, query } from '../test/support/storage.js';
import { ContextCache } from './context.js';
import { Session } from './database.js';

const postgres = await TestPostgres.start();
t.teardown(() => postgres.stop());

async function newDatabase(name: string): Promise<string> {
  const url = await postgres.createDatabase(name);
  await createSchema(url);
  return url;
}

/** Waits until the cache says so. */
async function until(cache: ContextCache, id: string, type: string | null): Promise<void> {
  for (;;) {
    await cache.load([id]);
    if (cache.get(id).type === type) return;
    await sleep(5);
  }
}

const queries = `select count(*)::int as n from pg_stat_activity where application_name = 'holdfast context'`;

void test('devices are loaded when they are met, unknown ones as a null context', async (t) => {
  const url = await newDatabase('met');
  await query(url, `insert into devices (device_id, type, site) values ('a', 'press', 'Köln'), ('b', 'pump', null)`);
  const cache = new ContextCache({ url, log: silent });
  await cache.start();
  t.strictSame(cache.get('a'), { type: null, site: null }, 'not loaded yet');
  await cache.load(new Set(['a', 'b', 'c']));
  t.strictSame(cache.get('a'), { type: 'press', site: 'Köln' });
  t.strictSame(cache.get('b'), { type: 'pump', site: null });
  t.strictSame(cache.get('c'), { type: null, site: null });
  await cache.stop();
});

void test('a changed, new, deleted or renamed device is heard of', async (t) => {
  const url = await newDatabase('changed');
  const cache = new ContextCache({ url, log: silent });
  await cache.start();
  const steps: [string, string, string | null][] = [
    [`insert into devices (device_id, type) values ('a', 'press')`, 'a', 'press'],
    [`update devices set type = 'pump' where device_id = 'a'`, 'a', 'pump'],
    [
      `insert into devices (device_id, type) values ('a', 'fan') on conflict (device_id) do update set type = 'fan'`,
      'a',
      'fan',
    ],
    [`update devices set device_id = 'b' where device_id = 'a'`, 'b', 'fan'],
    [`delete from devices where device_id = 'b'`, 'b', null],
    [`insert into devices (device_id, type) select i, 'many' from generate_series(1, 5000) i`, '4711', 'many'],
    [`update devices set type = 'all'`, '4711', 'all'],
    [`truncate devices`, '4711', null],
  ];
  await cache.load(['a', 'b', '4711']);
  for (const [sql, id, type] of steps) {
    await query(url, sql);
    await until(cache, id, type);
    t.equal(cache.get(id).type, type, sql);
  }
  await cache.stop();
});

void test('a device that changes while it is loaded does not stay in its old context', async (t) => {
  const url = await newDatabase('meanwhile');
  await query(url, `insert into devices (device_id, type) values ('a', '0')`);
  const cache = new ContextCache({ url, log: silent });
  await cache.start();
  const writer = await Session.open(url, 'test');
  for (let version = 1; version <= 200; version++) {
    const changed = writer.client.query('update devices set type = $1', [`${version}`]);
    await Promise.all([changed, cache.load(['a']), cache.load(['a', 'b'])]);
    if (version % 50 === 0) await until(cache, 'a', `${version}`);
  }
  t.equal(cache.get('a').type, '200');
  await writer.close();
  await cache.stop();
});

void test('ids that are there already stay there while others are loaded', async (t) => {
  const url = await newDatabase('others');
  await query(url, `insert into devices (device_id, type) select i, 'x' from generate_series(1, 300) i`);
  const cache = new ContextCache({ url, log: silent });
  await cache.start();
  const writer = await Session.open(url, 'test');
  for (let id = 2; id <= 300; id++) {
    const changed = writer.client.query(`update devices set site = $1 where device_id = '1'`, [`${id}`]);
    await cache.load(['1', `${id}`]);
    t.equal(cache.get('1').type, 'x', `forgotten or not: load ${id} has brought it`);
    await changed;
  }
  await writer.close();
  await cache.stop();
});

void test('the cache is bounded, and what a load has brought is there even so', async (t) => {
  const url = await newDatabase('bounded');
  await query(url, `insert into devices (device_id, type) select i, 't' || i from generate_series(1, 1000) i`);
  const cache = new ContextCache({ url, log: silent, maxEntries: 10 });
  await cache.start();
  const ids = Array.from({ length: 1_000 }, (_, index) => `${index + 1}`);
  await cache.load(ids);
  t.ok(
    ids.every((id) => cache.get(id).type === `t${id}`),
    'all of one load',
  );
  for (const id of ids.slice(0, 30)) await cache.load([id]);
  t.equal(ids.filter((id) => cache.get(id).type !== null).length <= 11, true, 'the rest is forgotten');
  await cache.stop();
});

void test('while the database is away loads fail and can be tried again; then all is forgotten and loaded anew', async (t) => {
  const cache = new ContextCache({ url: postgres.url, log: silent });
  await postgres.halt();
  await cache.start();
  await t.rejects(cache.load(['a']), { code: 'database', retry: true });
  await postgres.restart();
  await createSchema(postgres.url);
  const session = await Session.open(postgres.url, 'test');
  await session.client.query(`insert into devices (device_id, type) values ('a', 'press')`);
  await until(cache, 'a', 'press');
  // The change is made while nobody listens.
  await session.client.query(
    `with ended as (select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'holdfast context')
     update devices set type = 'pump' from ended`,
  );
  await until(cache, 'a', 'pump');
  t.equal(cache.get('a').type, 'pump');
  await session.close();
  await cache.stop();
  t.strictSame(await query(postgres.url, queries), [{ n: 0 }], 'no connection is left behind');
});
