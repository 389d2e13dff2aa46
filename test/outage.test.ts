/** What the promise is for: each next hop away, and a queue that is full. */
import t from 'tap';
import { Fleet } from './faults/fleet.js';
import { drained } from './support/crash-run.js';
import { Pipeline } from './support/pipeline.js';
import { until } from './support/processes.js';

async function withFleet(
  environment: Record<string, string>,
  work: (pipeline: Pipeline, fleet: Fleet) => Promise<void>,
): Promise<void> {
  const pipeline = await Pipeline.start({ environment });
  try {
    const fleet = new Fleet(pipeline.edgeUrl, 10, { prefix: 'outage' });
    await work(pipeline, fleet);
    await fleet.close();
    fleet.history.close();
  } finally {
    await pipeline.stop();
  }
}

await t.test('with the router away devices are acked, the edge queues, and all of it arrives', async (t) => {
  await withFleet({}, async (pipeline, fleet) => {
    const { edge, router } = pipeline.services;
    fleet.send(10);
    await fleet.flushed();
    await drained(pipeline);
    await router.end('SIGKILL');
    fleet.send(500);
    await fleet.flushed();
    t.ok((await edge.metric('holdfast_queue_records')) >= 5_000, 'the gauge shows what waits');
    t.ok((await edge.metric('holdfast_queue_bytes')) > 0);
    await router.start();
    await drained(pipeline);
    t.equal(await edge.metric('holdfast_queue_oldest_seconds'), 0);
    t.same((await fleet.history.check({ databaseUrl: pipeline.databaseUrl })).lines, []);
    t.equal(fleet.history.ackedRecords, 5_100);
  });
});

await t.test('with the database away devices are acked, the router queues, and all of it arrives', async (t) => {
  await withFleet({}, async (pipeline, fleet) => {
    const { router, storage } = pipeline.services;
    fleet.send(10);
    await fleet.flushed();
    await drained(pipeline);
    await pipeline.postgres.kill();
    fleet.send(500);
    await fleet.flushed();
    await until(async () => (await router.metric('holdfast_queue_records')) >= 5_000);
    await until(async () => ((await storage.waitingFor())?.length ?? 0) > 0);
    await pipeline.postgres.restart();
    await drained(pipeline);
    await storage.untilReady();
    t.same((await fleet.history.check({ databaseUrl: pipeline.databaseUrl })).lines, []);
  });
});

await t.test('at its quota the edge closes with 1013, loses nothing it acked, and recovers by itself', async (t) => {
  await withFleet({ EDGE_QUOTA: '1MiB', EDGE_RETRY_AFTER: '100ms' }, async (pipeline, fleet) => {
    const { edge, router } = pipeline.services;
    await router.end();
    fleet.send(1_000);
    await until(() => fleet.closes.some((close) => /^1013 retry-after:\d+$/.test(close)));
    t.ok((await edge.metric('holdfast_queue_bytes')) <= 2 ** 20, 'the queue stays within its quota');
    t.ok(fleet.history.ackedRecords < 10_000, 'not everything was acked');
    t.ok(edge.running);
    await router.start();
    await fleet.flushed();
    await drained(pipeline);
    t.same((await fleet.history.check({ databaseUrl: pipeline.databaseUrl })).lines, []);
    t.equal(fleet.history.ackedRecords, 10_000);
  });
});

await t.test('at its quota the router gives no credit, the edge queues, and all of it arrives', async (t) => {
  await withFleet({ ROUTER_QUOTA: '1MiB' }, async (pipeline, fleet) => {
    const { edge, router } = pipeline.services;
    await pipeline.postgres.halt();
    fleet.send(1_000);
    await fleet.flushed();
    await until(async () => (await edge.metric('holdfast_queue_records')) > 0);
    t.ok((await router.metric('holdfast_queue_bytes')) <= 2 ** 20, 'the queue stays within its quota');
    await pipeline.postgres.restart();
    await drained(pipeline);
    t.same((await fleet.history.check({ databaseUrl: pipeline.databaseUrl })).lines, []);
  });
});
