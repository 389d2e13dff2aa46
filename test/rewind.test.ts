/** `holdfast queue rewind shadow`: what the router still holds is applied again, with both stores, and shadows stay as they are. */
import { test, type Test } from 'tap';
import type { Rewind } from '../services/queue/rewind.js';
import { Device } from '../shared/device.js';
import { runHoldfast, type Ended } from './support/holdfast.js';
import { until } from './support/processes.js';
import { TestRedis } from './support/redis.js';
import type { ShadowDocument } from './support/shadow-client.js';
import { ShadowPipeline } from './support/shadow-pipeline.js';

const RECORDS = 30;

async function check(t: Test, redis: TestRedis | undefined): Promise<void> {
  const pipeline = await ShadowPipeline.start(t, {
    environment: { ROUTER_RETAIN: '1GiB', SHADOW_FLUSH: '10ms', SHADOW_REDIS_UNSAFE: '0s' },
    ...(redis === undefined ? {} : { redisUrl: redis.url }),
  });
  const { client, edge, router, shadow } = pipeline;
  const rewind = (...words: string[]): Promise<Ended> =>
    runHoldfast(['queue', 'rewind', 'shadow', ...words], shadow.environment);
  const applied = (): Promise<number> => shadow.metric('holdfast_records_in_total');
  const settled = async (): Promise<void> => {
    await until(async () => (await edge.process.metric('holdfast_queue_records')) === 0);
    await until(async () => (await router.metric('holdfast_consumer_lag_batches{consumer="shadow"')) === 0);
  };
  const document = async (): Promise<Partial<ShadowDocument>> => {
    const { state, metadata, latest } = (await client.shadow('press-1'))!;
    return { state, metadata, latest };
  };

  const device = new Device({ url: edge.url, id: 'press-1' });
  device.connect();
  let middle = '';
  for (let count = 1; count <= RECORDS; count++) {
    device.send({ count });
    device.report({ count, [`only-${count}`]: true });
    await device.flushed();
    if (count !== RECORDS / 2) continue;
    await settled();
    middle = new Date().toISOString();
  }
  await client.desire('press-1', { throttle: 40 });
  await device.close();
  const gone = new Device({ url: edge.url, id: 'press-2' });
  gone.connect();
  gone.report({ valve: 'open' });
  await gone.flushed();
  await gone.close();
  await settled();
  t.equal((await client.request('DELETE', '/things/press-2/shadow')).status, 200);
  const before = await document();
  const all = await applied();
  t.ok(all > 2 * RECORDS, `${all} records, with those of coming and going`);

  const busy = await rewind('--to', '0:0');
  t.equal(busy.code, 1);
  t.match(busy.stderr, redis === undefined ? /at work in another process/ : /stop it first/);
  t.strictSame(await document(), before, 'a shadow that is at work goes on');
  t.ok(shadow.running);

  await shadow.end();
  const text = await rewind('--to', middle);
  t.equal(text.code, 0, text.stderr);
  t.match(text.stdout, /^shadow goes on after \d+:\d+ in queue .*; it was at /);
  await shadow.start();
  await until(async () => (await applied()) > 0);
  await settled();
  await until(async () => (await shadow.metric('holdfast_unwritten_things')) === 0);
  const some = await applied();
  t.ok(some >= RECORDS && some < all, `${some} of ${all} records were applied again`);
  t.strictSame(await document(), before);

  await shadow.end();
  const { stdout } = await rewind('--to', '0:0', '--json');
  const { from, to, head, first } = JSON.parse(stdout) as Rewind;
  t.strictSame({ to, from }, { to: '0:0', from: head });
  t.match(first, /:1$/);
  const forward = await rewind('--to', head);
  t.equal(forward.code, 1);
  t.match(forward.stderr, /a rewind goes back|starts at its beginning anyway/);
  await shadow.start();
  await until(async () => (await applied()) === all);
  await until(async () => (await shadow.metric('holdfast_unwritten_things')) === 0);
  t.strictSame(await document(), before, 'nothing is turned back, and nothing is there twice');
  // As the help says: a report of before the deletion is a report.
  t.strictSame((await client.shadow('press-2'))!.state.reported, { valve: 'open' });

  await shadow.end();
  const elsewhere = { ...shadow.environment, SHADOW_DIRECTORY: `${pipeline.directory}/nowhere` };
  const nowhere = await runHoldfast(['queue', 'rewind', 'shadow', '--to', '0:0'], elsewhere);
  t.equal(nowhere.code, redis === undefined ? 1 : 0);
  if (redis === undefined) t.match(nowhere.stderr, /there is no store in .*nowhere/);
  const wrong = await rewind('--to', '0:0', '--database', 'postgres://a@b/c');
  t.equal(wrong.code, 78);
}

void test('shadow over LMDB applies again what the router holds, and comes out as it was', (t) => check(t, undefined));

void test('shadow over Redis applies again what the router holds, and comes out as it was', async (t) => {
  const redis = await TestRedis.start({ appendfsync: 'always' });
  t.teardown(() => redis.stop());
  await check(t, redis);
});
