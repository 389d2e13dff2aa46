import t, { test } from 'tap';
import { Kind } from '../../shared/batch.js';
import type { TestRecord } from '../../test/support/deliveries.js';
import { TestPostgres } from '../../test/support/postgres.js';
import { TIME, TestStorage, batch, countRows, query, records } from '../../test/support/storage.js';

const postgres = await TestPostgres.start();
t.teardown(() => postgres.stop());

let databases = 0;

function newDatabase(): Promise<string> {
  return postgres.createDatabase(`test_${++databases}`);
}

void test('duplicates inside a merge and across merges are stored once, the first stays', async (t) => {
  const url = await newDatabase();
  const test = await TestStorage.start(url);
  const changed = records('a', 1, 5).map((record) => ({ ...record, payload: '{"value":"later"}' }));
  test.source.push(batch(1, [...records('a', 1, 10), ...changed]));
  await test.source.untilAcked(1);
  test.source.push(batch(2, [...changed, ...records('a', 11, 10)]));
  await test.source.untilAcked(2);
  test.source.push(batch(3, records('a', 21, 5)));
  await test.source.untilAcked(3);
  t.strictSame(await countRows(url), { rows: 25, distinct: 25 });
  t.strictSame(await query(url, `select seq from telemetry where data->>'value' = 'later'`), []);
  t.equal(await test.metric('holdfast_duplicates_total'), 10);
  t.equal(await test.metric('holdfast_records_out_total'), 25);
  await test.stop();
});

void test('a row PostgreSQL refuses goes to dead_letters with its reason, and its neighbours are stored', async (t) => {
  const url = await newDatabase();
  const test = await TestStorage.start(url);
  const at = { device: 'bad', timeMs: TIME };
  const bad: (TestRecord & { reason: RegExp })[] = [
    { ...at, seq: 1, payload: '{"a":"\\u0000"}', reason: /u0000/ },
    { ...at, seq: 2, payload: '{"a":', reason: /invalid input syntax for type json/ },
    { ...at, seq: 3, payload: Buffer.from([0x22, 0xff, 0xfe, 0x22]), reason: /UTF8/ },
    { ...at, seq: 4, payload: '', reason: /json/ },
    { ...at, seq: 5, payload: '"\\ud800"', reason: /surrogate/ },
    { ...at, seq: 6, payload: '{"a":1e400000}', reason: /numeric/ },
    { ...at, seq: 7, payload: '['.repeat(50_000) + ']'.repeat(50_000), reason: /stack depth/ },
    { ...at, seq: 8, kind: Kind.report, payload: '1,"other":2', reason: /one JSON value/ },
    { ...at, seq: 9, timeMs: 1e300, payload: '{}', reason: /time is out of range.*1e\+300/ },
    { ...at, seq: 10, timeMs: Number.NaN, payload: '{}', reason: /time is out of range.*NaN/ },
    { ...at, seq: 11, receivedMs: -Infinity, payload: '{}', reason: /received is out of range/ },
    { ...at, seq: 12.5, payload: '{}', reason: /seq is not a whole number.*12\.5/ },
    { ...at, seq: 13, device: 'b\0d', payload: '{}', reason: /device_id/ },
    { ...at, seq: 14, device: '', payload: '{}', reason: /device_id/ },
    { ...at, seq: 15, payload: '{"nul":"\0"}', reason: /json/ },
  ];
  const good = records('good', 1, 1_000);
  bad.forEach((record, index) => good.splice(index * 60 + 7, 0, record));
  test.source.push(batch(1, good));
  await test.source.untilAcked(1);
  t.strictSame(await countRows(url), { rows: 1_000, distinct: 1_000 });
  const letters = await query<{ seq: string | null; payload: Buffer; reason: string; device_id: string }>(
    url,
    'select seq, payload, reason, device_id from dead_letters',
  );
  t.equal(letters.length, bad.length);
  for (const { seq, payload, reason } of bad) {
    const letter = letters.find((each) => Number(each.seq) === seq || (each.seq === null && seq === 12.5));
    t.ok(letter?.payload.equals(Buffer.from(payload)), `the payload of seq ${seq} is kept as it came`);
    t.match(letter?.reason, reason);
  }
  t.equal(await test.metric('holdfast_dead_letters_total'), bad.length);
  t.equal(await test.metric('holdfast_duplicates_total'), 0);
  await test.stop();
});

void test('many bad rows among many good ones, and a merge of nothing but garbage, are told apart', async (t) => {
  const url = await newDatabase();
  const test = await TestStorage.start(url);
  const mixed = records('a', 1, 3_000).map((record, index) =>
    index % 50 === 0 ? { ...record, payload: `{"a":1e400${1_000 + index}}` } : record,
  );
  test.source.push(batch(1, mixed));
  await test.source.untilAcked(1);
  t.strictSame(await countRows(url), { rows: 2_940, distinct: 2_940 });
  test.source.push(
    batch(
      2,
      records('b', 1, 3_000).map((record) => ({ ...record, payload: '\u0001' })),
    ),
  );
  await test.source.untilAcked(2);
  t.strictSame(await query(url, 'select count(*)::int as n from dead_letters'), [{ n: 3_060 }]);
  t.strictSame(await countRows(url), { rows: 2_940, distinct: 2_940 });
  await test.stop();
});

void test('a constraint or trigger of the operator refuses single rows too', async (t) => {
  const url = await newDatabase();
  const test = await TestStorage.start(url);
  await query(url, `alter table telemetry add constraint sane check ((data->>'value')::int <> 7)`);
  test.source.push(batch(1, records('a', 1, 20)));
  await test.source.untilAcked(1);
  t.strictSame(await countRows(url), { rows: 19, distinct: 19 });
  t.match(await query(url, 'select seq::int, reason from dead_letters'), [{ seq: 7, reason: /constraint "sane"/ }]);
  await test.stop();
});
