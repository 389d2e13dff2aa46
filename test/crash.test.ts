/** The promise: an acked record is in the table exactly once, whichever process dies. */
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import t from 'tap';
import { Session } from '../shared/database.js';
import { drained, runCrashes } from './support/crash-run.js';
import { Pipeline } from './support/pipeline.js';
import { plantBug, type Plant } from './support/planted.js';

const SEED = 20_261_120;
/** The router keeps everything, so that the order of its positions can be checked at the end. */
const KEEP_ALL = { ROUTER_RETAIN: '4GiB' };

async function withPipeline(
  options: { environment?: Record<string, string>; root?: string },
  work: (pipeline: Pipeline) => Promise<void>,
): Promise<void> {
  const pipeline = await Pipeline.start(options);
  try {
    await work(pipeline);
  } finally {
    await pipeline.stop();
    if (options.root !== undefined) await rm(options.root, { recursive: true, force: true });
  }
}

await t.test('a record acked before kill -9 is in the table exactly once, whichever process dies', async (t) => {
  await withPipeline({ environment: KEEP_ALL }, async (pipeline) => {
    const kills = { edge: 10, router: 10, storage: 10 };
    const history = await runCrashes(pipeline, { devices: 50, records: 200_000, kills, seed: SEED });
    await drained(pipeline);
    await pipeline.services.router.end();
    t.ok(history.ackedRecords >= 200_000, `${history.ackedRecords} records were acked`);
    t.same(await history.check(pipeline.postgres.url, join(pipeline.directory, 'router')), {
      lost: [],
      doubled: [],
      unsent: [],
      disordered: [],
    });
  });
});

await t.test('the checker finds a planted early ack', async (t) => {
  const early: Plant = {
    file: 'services/edge/ingest.js',
    original: 'await this.queue.append(group.full.map((builder) => builder.build()));',
    planted: `for (const { session, seq } of group.shares) session.settle(seq, 0);
            await new Promise((resolve) => setTimeout(resolve, 200));
            await this.queue.append(group.full.map((builder) => builder.build()));`,
  };
  await withPipeline({ root: await plantBug(early) }, async (pipeline) => {
    const history = await runCrashes(pipeline, { devices: 10, records: 2_000, kills: { edge: 3 }, seed: SEED });
    await drained(pipeline);
    const { lost } = await history.check(pipeline.postgres.url);
    t.not(lost.length, 0, 'acked records are missing from the table, and the checker says so');
  });
});

await t.test('the checker finds a planted missing dedupe', async (t) => {
  // Late acks are no bug: they make sure that a kill finds records that are stored and not acked, which come again.
  const late: Plant = {
    file: 'services/edge/ingest.js',
    original: 'session.settle(seq, bytes);',
    planted: 'setTimeout(() => session.settle(seq, bytes), 100);',
  };
  await withPipeline({ root: await plantBug(late) }, async (pipeline) => {
    const session = await Session.open(pipeline.postgres.url, 'test');
    await session.client.query('alter table telemetry drop constraint telemetry_pkey');
    await session.close();
    const history = await runCrashes(pipeline, { devices: 10, records: 5_000, kills: { edge: 5 }, seed: SEED });
    await drained(pipeline);
    const { doubled } = await history.check(pipeline.postgres.url);
    t.not(doubled.length, 0, 'records that devices sent again are there twice, and the checker says so');
  });
});
