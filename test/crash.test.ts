/** The promise: an acked record is in the table exactly once, whichever process dies. */
import t from 'tap';
import { runCrashes } from './support/crash-run.js';
import { Pipeline } from './support/pipeline.js';

const SEED = 20_261_120;
/** The router keeps everything, so that its queue can be looked through at the end. */
const KEEP_ALL = { ROUTER_RETAIN: '4GiB' };

await t.test('a record acked before kill -9 is in the table exactly once, whichever process dies', async (t) => {
  const pipeline = await Pipeline.start({ environment: KEEP_ALL });
  try {
    const kills = { edge: 10, router: 10, storage: 10 };
    const { history, positions } = await runCrashes(pipeline, { devices: 50, records: 200_000, kills, seed: SEED });
    t.ok(history.ackedRecords >= 200_000, `${history.ackedRecords} records were acked`);
    t.ok(positions.length > 100, `${positions.length} samples of the positions were taken`);
    const { databaseUrl, routerQueue } = pipeline;
    t.same((await history.check({ databaseUrl, routerQueue, positions })).lines, []);
    history.close();
  } finally {
    await pipeline.stop();
  }
});
