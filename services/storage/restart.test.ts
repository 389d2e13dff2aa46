import { test } from 'tap';
import { START } from '../../shared/position.js';
import { TestPostgres } from '../../test/support/postgres.js';
import { TestStorage, batch, countRows, records } from '../../test/support/storage.js';

void test('kill -9 of PostgreSQL in mid-run loses and doubles nothing', async (t) => {
  const postgres = await TestPostgres.start();
  t.teardown(() => postgres.stop());
  const { url } = postgres;
  const test = await TestStorage.start(url, { limits: { rows: 1_000, bytes: 2 ** 20, waitMs: 2 } });
  const batches = 300;
  for (let offset = 1; offset <= batches; offset++) test.source.push(batch(offset, records('a', offset * 100, 100)));
  for (const acked of [20, 120]) {
    await test.source.untilAcked(acked);
    await postgres.kill();
    await test.positions.resume(test.source.queueId, START).then(
      () => {
        t.fail('the database is away');
      },
      (error: unknown) => {
        t.match(error, { code: 'database', retry: true });
      },
    );
    await postgres.restart();
  }
  await test.source.untilAcked(batches);
  t.strictSame(await countRows(url), { rows: batches * 100, distinct: batches * 100 });
  await test.stop();
});
