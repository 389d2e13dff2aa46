import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import t, { test } from 'tap';
import { MAX_BATCH_BYTES, Kind } from '../../shared/batch.js';
import type { Context } from '../../shared/context.js';
import { CutProxy, type Cut } from '../../test/support/cut-proxy.js';
import { TestPostgres } from '../../test/support/postgres.js';
import { EPOCH, TIME, TestStorage, batch, countRows, query, records } from '../../test/support/storage.js';

const postgres = await TestPostgres.start();
t.teardown(() => postgres.stop());

let databases = 0;

function newDatabase(): Promise<string> {
  return postgres.createDatabase(`test_${++databases}`);
}

/** Waits until a session of storage is in a state that `where` describes, then ends it as an operator would. */
async function terminate(url: string, where: string): Promise<void> {
  const sql = `select pg_terminate_backend(pid) from pg_stat_activity
    where application_name = 'holdfast storage' and datname = current_database() and ${where}`;
  while ((await query(url, sql)).length === 0) await sleep(5);
}

/** Ends the sessions that are at work, again and again, and counts them. */
async function endSessions(url: string, signal: AbortSignal, counted: { ended: number }): Promise<void> {
  while (!signal.aborted) {
    const sql = `select pg_terminate_backend(pid) from pg_stat_activity
      where application_name like 'holdfast%' and datname = current_database() and state <> 'idle'`;
    counted.ended += (await query(url, sql)).length;
    await sleep(30);
  }
}

/** Waits until the cache has heard of a change. */
async function untilKnown(test: TestStorage, id: string, context: Context): Promise<void> {
  for (;;) {
    await test.context.load([id]);
    const { type, site } = test.context.get(id);
    if (type === context.type && site === context.site) return;
    await sleep(5);
  }
}

void test('telemetry, reports and results become rows; who came and went does not', async (t) => {
  const url = await newDatabase();
  const test = await TestStorage.start(url);
  const at = { device: 'press-1', timeMs: TIME + 0.5, receivedMs: TIME + 250 };
  test.source.push(
    batch(1, [
      { ...at, seq: 1, payload: '{"temperature":80.5}' },
      { ...at, seq: 2, kind: Kind.report, payload: '{"valve":"open"}' },
      { ...at, seq: 3, kind: Kind.result, payload: '{"id":"c-1","status":"SUCCEEDED"}' },
      { ...at, seq: 4, kind: Kind.online, payload: '{}' },
      { ...at, seq: 5, kind: Kind.offline, payload: '{}' },
    ]),
  );
  await test.source.untilAcked(1);
  const rows = await query(
    url,
    `select device_id, seq::int, data, extract(epoch from time)::float8 * 1000 as time_ms,
       extract(epoch from received)::float8 * 1000 as received_ms, type, site from telemetry order by seq`,
  );
  const same = { device_id: 'press-1', time_ms: TIME + 0.5, received_ms: TIME + 250, type: null, site: null };
  t.strictSame(rows, [
    { ...same, seq: 1, data: { temperature: 80.5 } },
    { ...same, seq: 2, data: { report: { valve: 'open' } } },
    { ...same, seq: 3, data: { result: { id: 'c-1', status: 'SUCCEEDED' } } },
  ]);
  t.strictSame(test.source.acked, [{ epoch: EPOCH, offset: 1 }]);
  t.equal(await test.metric('holdfast_records_out_total'), 3);
  t.equal(await test.metric('holdfast_records_in_total'), 5);
  t.equal(await test.metric('holdfast_database_up'), 1);
  await test.stop();
});

void test('the position is stored with the rows, and a successor goes on from there', async (t) => {
  const url = await newDatabase();
  const first = await TestStorage.start(url);
  first.source.push(batch(1, records('a', 1, 10)), batch(2, records('a', 11, 10)));
  await first.source.untilAcked(2);
  await first.stop();
  const second = await TestStorage.start(url, { queueId: first.source.queueId });
  t.strictSame(second.positions.known(first.source.queueId), { epoch: EPOCH, offset: 2 });
  // The router delivers again what was acked too late for it: it is left out.
  second.source.push(batch(1, records('a', 1, 10)), batch(2, records('a', 11, 10)), batch(3, records('a', 21, 10)));
  await second.source.untilAcked(3);
  t.strictSame(await countRows(url), { rows: 30, distinct: 30 });
  t.equal(await second.metric('holdfast_duplicates_total'), 0);
  await second.stop();
});

void test('a connection that ends in the middle of a COPY loses and doubles nothing', async (t) => {
  const url = await newDatabase();
  const test = await TestStorage.start(url);
  // Rows wait for this lock in the middle of their COPY.
  const blocker = query(url, `begin; lock table telemetry_default; select pg_sleep(1); commit`);
  await sleep(100);
  test.source.push(batch(1, records('a', 1, 500)));
  await terminate(url, `query like 'copy%' and wait_event_type = 'Lock'`);
  await blocker;
  await test.source.untilAcked(1);
  t.strictSame(await countRows(url), { rows: 500, distinct: 500 });
  await test.stop();
});

for (const cut of ['before', 'after'] as Cut[]) {
  void test(`a connection that ends ${cut} a COMMIT was done loses and doubles nothing`, async (t) => {
    const url = await newDatabase();
    const proxy = await CutProxy.start(url);
    const test = await TestStorage.start(proxy.url);
    test.source.push(batch(1, records('a', 1, 100)));
    await test.source.untilAcked(1);
    for (let offset = 2; offset <= 4; offset++) {
      proxy.arm(cut);
      // A dead letter has no key: it would be there twice if the merge were stored twice.
      const bad = { device: 'a', seq: 1_000 + offset, timeMs: TIME, payload: '{' };
      test.source.push(batch(offset, [...records('a', offset * 100, 100), bad]));
      await test.source.untilAcked(offset);
    }
    t.equal(proxy.cuts, 3);
    t.strictSame(await countRows(url), { rows: 400, distinct: 400 });
    t.strictSame(await query(url, 'select count(*)::int as n from dead_letters'), [{ n: 3 }]);
    t.strictSame(test.positions.known(test.source.queueId), { epoch: EPOCH, offset: 4 });
    await test.stop();
    await proxy.stop();
  });
}

void test('connections that are ended again and again lose and double nothing', async (t) => {
  const url = await newDatabase();
  const test = await TestStorage.start(url, { limits: { rows: 500, bytes: 2 ** 20, waitMs: 2 } });
  const stopped = new AbortController();
  const counted = { ended: 0 };
  const ending = endSessions(url, stopped.signal, counted);
  let batches = 0;
  // Work goes on until enough sessions were ended in the middle of it.
  while (counted.ended < 5 || batches < 100) {
    for (let more = 0; more < 20; more++) test.source.push(batch(++batches, records('a', batches * 50, 50)));
    await test.source.untilAcked(batches);
  }
  stopped.abort();
  await ending;
  t.strictSame(await countRows(url), { rows: batches * 50, distinct: batches * 50 });
  await test.stop();
});

void test('of two writers of a queue the one that comes too late stops, and nothing is doubled', async (t) => {
  const url = await newDatabase();
  const queueId = randomUUID();
  const [first, second] = [await TestStorage.start(url, { queueId }), await TestStorage.start(url, { queueId })];
  first.source.push(batch(1, records('a', 1, 100)));
  await first.source.untilAcked(1);
  // Without a device's key in common: only the fence keeps the second from storing.
  second.source.push(batch(1, records('b', 1, 100)));
  t.match(await second.failed, { code: 'fenced', retry: false, message: /another storage/ });
  t.strictSame(second.source.acked, []);
  first.source.push(batch(2, records('a', 101, 100)));
  await first.source.untilAcked(2);
  t.strictSame(await query(url, 'select distinct device_id from telemetry'), [{ device_id: 'a' }]);
  await first.stop();
  await second.stop();
});

void test('a position is not given out while a dying predecessor may still commit', async (t) => {
  const url = await newDatabase();
  const first = await TestStorage.start(url);
  const { queueId } = first.source;
  await query(
    url,
    `create function wait() returns trigger language plpgsql as $$ begin perform pg_sleep(0.3); return null; end $$;
     create constraint trigger wait after update on consumer_positions deferrable initially deferred
       for each row execute function wait()`,
  );
  first.source.push(batch(1, records('a', 1, 10)));
  const committing = `select from pg_stat_activity where query = 'commit' and state = 'active' and datname = current_database()`;
  while ((await query(url, committing)).length === 0) await sleep(5);
  const second = await TestStorage.start(url, { queueId });
  t.strictSame(second.positions.known(queueId), { epoch: EPOCH, offset: 1 });
  await first.stop();
  await second.stop();
});

void test('a stop while the database is away ends in time, and acks nothing', async (t) => {
  const url = await newDatabase();
  const test = await TestStorage.start(url);
  await query(url, 'alter table telemetry rename to gone');
  test.source.push(batch(1, records('a', 1, 10)));
  while ((await test.metric('holdfast_retries_total')) === 0) await sleep(5);
  t.notOk(test.storage.ready, 'what an operator has to mend is not ready');
  await test.stop();
  t.strictSame(test.source.acked, []);
});

void test('a missing table is waited for, and nothing is lost', async (t) => {
  const url = await newDatabase();
  const test = await TestStorage.start(url);
  await query(url, 'alter table telemetry rename to gone');
  test.source.push(batch(1, records('a', 1, 10)));
  while ((await test.metric('holdfast_retries_total')) === 0) await sleep(5);
  await query(url, 'alter table gone rename to telemetry');
  await test.source.untilAcked(1);
  t.strictSame(await countRows(url), { rows: 10, distinct: 10 });
  t.ok(test.storage.ready);
  await test.stop();
});

void test('the context of devices is joined to their rows, and changes with the table', async (t) => {
  const url = await newDatabase();
  const test = await TestStorage.start(url);
  await query(url, `insert into devices (device_id, type, site) values ('a', 'press', 'Köln'), ('b', 'pump', null)`);
  test.source.push(batch(1, [...records('a', 1, 1), ...records('b', 1, 1), ...records('c', 1, 1)]));
  await test.source.untilAcked(1);
  await query(url, `update devices set site = 'Bonn' where device_id = 'a'`);
  await query(url, `insert into devices (device_id, type) values ('c', 'fan')`);
  await untilKnown(test, 'a', { type: 'press', site: 'Bonn' });
  await untilKnown(test, 'c', { type: 'fan', site: null });
  // The first as a duplicate, so that the slow path joins too.
  test.source.push(batch(2, [...records('b', 1, 1), ...records('a', 2, 1), ...records('c', 2, 1)]));
  await test.source.untilAcked(2);
  test.source.push(batch(3, records('a', 3, 1)));
  await test.source.untilAcked(3);
  t.strictSame(await query(url, 'select device_id, seq::int, type, site from telemetry order by device_id, seq'), [
    { device_id: 'a', seq: 1, type: 'press', site: 'Köln' },
    { device_id: 'a', seq: 2, type: 'press', site: 'Bonn' },
    { device_id: 'a', seq: 3, type: 'press', site: 'Bonn' },
    { device_id: 'b', seq: 1, type: 'pump', site: null },
    { device_id: 'c', seq: 1, type: null, site: null },
    { device_id: 'c', seq: 2, type: 'fan', site: null },
  ]);
  await test.stop();
});

void test('rows of the largest payloads, and more devices than one, cross the chunks of a COPY whole', async (t) => {
  const url = await newDatabase();
  const test = await TestStorage.start(url);
  const text = 'x'.repeat(MAX_BATCH_BYTES - 200);
  const offsets = [1, 2, 3, 4, 5, 6, 7];
  test.source.push(
    ...offsets.map((offset) =>
      batch(offset, [{ device: `d-${offset}`, seq: offset, timeMs: TIME, payload: `"${text}"` }]),
    ),
  );
  await test.source.untilAcked(offsets.length);
  t.strictSame(
    await query(url, `select device_id, seq::int, data #>> '{}' = $1 as whole from telemetry order by seq`, [text]),
    offsets.map((seq) => ({ device_id: `d-${seq}`, seq, whole: true })),
  );
  await test.stop();
});
