/** Shadows and commands across the services: what is wanted of a device reaches it once, and what it said is what is kept. */
import { statSync, truncateSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { test, type Test } from 'tap';
import { Device, type DeviceOptions } from '../shared/device.js';
import { DeviceSocket } from './support/device-socket.js';
import { until } from './support/processes.js';
import { TestRedis } from './support/redis.js';
import type { ShadowDocument } from './support/shadow-client.js';
import { ShadowLoad } from './support/shadow-load.js';
import { ShadowPipeline, untilApplied } from './support/shadow-pipeline.js';
import { Supervision } from './support/supervision.js';

const THING = 'press-1';

/** A device that connects again without much ado. */
function makeDevice(t: Test, url: string, options: Partial<DeviceOptions> = {}): Device {
  const device = new Device({ url, id: THING, minBackoffMs: 20, maxBackoffMs: 100, ...options });
  t.teardown(() => device.close());
  return device;
}

/** As it is set up for production: the last second may be lost with the machine. */
async function startRedis(t: Test): Promise<TestRedis> {
  const redis = await TestRedis.start({ appendfsync: 'everysec', settings: ['--auto-aof-rewrite-percentage', '0'] });
  t.teardown(() => redis.stop());
  return redis;
}

/** Waits until the document of the thing is as asked for. */
async function untilShadow(
  { client }: ShadowPipeline,
  condition: (document: ShadowDocument) => boolean,
  thing = THING,
): Promise<ShadowDocument> {
  let document: ShadowDocument | undefined;
  await until(async () => {
    document = await client.shadow(thing).catch(() => undefined);
    return document !== undefined && condition(document);
  });
  return document!;
}

for (const protocol of ['json', 'binary'] as const) {
  void test(`${protocol}: an application sets desired, the device takes it and the delta vanishes`, async (t) => {
    const pipeline = await ShadowPipeline.start(t);
    const device = makeDevice(t, pipeline.edge.url, { protocol });
    const deltas: unknown[] = [];
    device.onDelta((delta) => {
      deltas.push(delta);
      return delta;
    });
    device.connect();
    device.report({ valve: 'open', speed: { fan: 1, pump: 2 } });
    await untilShadow(pipeline, ({ connected, state }) => connected && state.reported !== undefined);
    await pipeline.client.desire(THING, { valve: 'closed', speed: { fan: 3 } });
    const { state, metadata } = await untilShadow(pipeline, (document) => document.state.delta === undefined);
    t.strictSame(state, {
      desired: { valve: 'closed', speed: { fan: 3 } },
      reported: { valve: 'closed', speed: { fan: 3, pump: 2 } },
    });
    t.strictSame(deltas, [{ valve: 'closed', speed: { fan: 3 } }]);
    const leaves = metadata.reported as Record<string, { timestamp: number } & Record<string, { timestamp: number }>>;
    t.ok(leaves['valve']!.timestamp > leaves['speed']!['pump']!.timestamp, 'each leaf has the time of what set it');
  });
}

void test('desired set while the device is away reaches it exactly once on its reconnect', async (t) => {
  const pipeline = await ShadowPipeline.start(t);
  const { client, edge } = pipeline;
  const first = await DeviceSocket.open(edge.port, THING);
  first.send({ report: { valve: 'open', mode: 'slow' } });
  await first.untilAcked(1);
  await first.close();
  await untilShadow(pipeline, ({ connected, state }) => !connected && state.reported !== undefined);
  await client.desire(THING, { valve: 'ajar' });
  await client.desire(THING, { valve: 'closed' });

  const device = await DeviceSocket.open(edge.port, THING);
  t.teardown(() => device.terminate());
  const deltas = (): unknown[] => device.replies.filter(({ type }) => type === 'delta');
  await device.until(() => deltas().length > 0);
  // What does not touch the delta does not send it again; what comes after it shows that nothing was between.
  device.send([{ report: { mode: 'fast' } }, { report: { mode: 'slow' } }, { data: 1 }]);
  await untilShadow(pipeline, ({ latest }) => latest?.seq === 3);
  await client.desire(THING, { mode: 'fast' });
  await device.until(() => deltas().length > 1);
  const { version } = (await client.shadow(THING))!;
  t.strictSame(deltas(), [
    { type: 'delta', delta: { valve: 'closed' }, version: 3 },
    { type: 'delta', delta: { valve: 'closed', mode: 'fast' }, version },
  ]);
});

void test('an edge killed with -9 while a command is under way: the command still ends SUCCEEDED once', async (t) => {
  const pipeline = await ShadowPipeline.start(t);
  const { client, edge } = pipeline;
  const device = makeDevice(t, edge.url);
  let finish: (data: unknown) => void = () => undefined;
  let runs = 0;
  device.onCommand(() => {
    runs++;
    return new Promise((resolve) => (finish = resolve));
  });
  const results: unknown[] = [];
  device.connect();
  await untilShadow(pipeline, ({ connected }) => connected);
  const id = await client.sendCommand(THING, 'reboot');
  await until(() => runs === 1);
  await until(async () => (await client.command(THING, id)).state === 'SENT');
  await edge.process.end('SIGKILL');
  await edge.process.start();
  await until(() => device.connected);
  // It is sent again to the new connection; the device is at it already and does not begin anew.
  await until(async () => (await client.command(THING, id)).sends > 1);
  finish({ took: 7 });
  await until(async () => {
    const command = await client.command(THING, id);
    results.push(command.state);
    return command.state === 'SUCCEEDED';
  });
  await device.flushed();
  await untilApplied(pipeline);
  t.match(await client.command(THING, id), { state: 'SUCCEEDED', result: { took: 7 } });
  t.equal(runs, 1, 'the device has done it once');
  t.notOk(
    results.slice(0, -1).some((state) => state !== 'SENT'),
    'and it was under way until then',
  );
});

void test('two updates race with the same version: one gets 409', async (t) => {
  const pipeline = await ShadowPipeline.start(t);
  const { client } = pipeline;
  for (let round = 1; round <= 20; round++) {
    const version = (await client.shadow(THING))?.version ?? 0;
    const answers = await Promise.all(
      ['a', 'b'].map((clientToken) =>
        client.update(THING, {
          state: { desired: { by: clientToken, round } },
          clientToken,
          ...(version === 0 ? {} : { version }),
        }),
      ),
    );
    if (version === 0) continue;
    t.strictSame(answers.map(({ status }) => status).sort(), [200, 409]);
    const [won, lost] = answers[0]!.status === 200 ? ['a', 'b'] : ['b', 'a'];
    const refusal = answers.find(({ status }) => status === 409)!;
    t.match(refusal.body, { code: 409, message: 'Version conflict', clientToken: lost });
    t.match(await client.shadow(THING), { version: version + 1, state: { desired: { by: won, round } } });
  }
});

void test('a late backlog from another edge does not turn state back', async (t) => {
  const pipeline = await ShadowPipeline.start(t, { edges: 2 });
  const { edges, router } = pipeline;
  const [old, other] = [edges[0]!, edges[1]!];
  const nowMs = Date.now();
  await router.end();
  const before = makeDevice(t, old.url);
  before.connect();
  before.send({ valve: 'open', mode: 'slow' }, { kind: 'report', time: nowMs - 20_000 });
  before.send({ n: 1 }, { time: nowMs - 20_000 });
  await before.flushed();
  await old.process.end('SIGKILL');
  await before.close();

  await router.start();
  const now = makeDevice(t, other.url);
  now.connect();
  now.send({ valve: 'closed' }, { kind: 'report', time: nowMs - 10_000 });
  now.send({ n: 2 }, { time: nowMs - 10_000 });
  await untilShadow(pipeline, ({ latest, state }) => latest?.seq === 2 && state.reported !== undefined);
  await old.process.start();
  const { state, metadata, latest, connected } = await untilShadow(
    pipeline,
    (document) => document.state.reported?.['mode'] !== undefined,
  );
  await untilApplied(pipeline);
  t.strictSame(state, { reported: { valve: 'closed', mode: 'slow' } }, 'of the older report what nobody knew better');
  t.strictSame(metadata.reported, { valve: { timestamp: nowMs - 10_000 }, mode: { timestamp: nowMs - 20_000 } });
  t.strictSame(latest, { time: nowMs - 10_000, seq: 2, data: { n: 2 } });
  t.ok(connected, 'it is connected at the other edge');
});

void test('Redis away for a while: shadow waits, catches up, loses nothing', async (t) => {
  const redis = await startRedis(t);
  const pipeline = await ShadowPipeline.start(t, { redisUrl: redis.url });
  const { client, shadow } = pipeline;
  const load = new ShadowLoad({ client, edgeUrl: pipeline.edge.url, things: 4 });
  t.teardown(() => load.close());
  await load.during(
    (async () => {
      await until(() => load.updates >= 20);
      await redis.kill();
      await until(async () => ((await shadow.waitingFor())?.length ?? 0) > 0);
      const refused = await client.update('other', { state: { desired: { a: 1 } } });
      t.equal(refused.status, 503);
      const { reports } = load;
      await until(() => load.reports > reports + 200);
      await redis.restart();
      await shadow.untilReady();
      const { updates } = load;
      await until(() => load.updates >= updates + 20);
    })(),
  );
  await untilApplied(pipeline);
  t.strictSame(await load.check(), []);
  t.ok(shadow.running, 'shadow has not ended meanwhile');
});

void test('Redis away while shadow starts: shadow waits, and is ready once Redis is there', async (t) => {
  const redis = await startRedis(t);
  const pipeline = await ShadowPipeline.start(t, { redisUrl: redis.url });
  const { client, shadow } = pipeline;
  await shadow.end();
  await redis.kill();
  shadow.spawn();
  const update = (): Promise<number> =>
    client.update('early', { state: { desired: { a: 1 } } }).then(({ status }) => status);
  // Until it listens nobody answers; a shadow that has ended never will.
  await until(() => update().then(Boolean, () => false));
  t.equal(await update(), 503);
  t.ok((await shadow.waitingFor())?.includes('store'));
  await redis.restart();
  await shadow.untilReady();
  t.equal(await update(), 200);
  t.ok(shadow.running, 'shadow has not ended meanwhile');
});

void test('Redis that loses its last second gets it again', async (t) => {
  const redis = await startRedis(t);
  const pipeline = await ShadowPipeline.start(t, { redisUrl: redis.url, environment: { SHADOW_FLUSH: '20ms' } });
  const supervision = new Supervision(pipeline.shadow);
  t.teardown(() => supervision.end());
  const device = makeDevice(t, pipeline.edge.url);
  device.connect();
  const report = (n: number): void => {
    device.report({ n, [`k${n}`]: n });
    device.send({ n });
  };
  for (let n = 1; n <= 10; n++) report(n);
  await untilShadow(pipeline, ({ latest }) => latest?.seq === 20);
  const file = join(redis.directory, 'appendonlydir', 'appendonly.aof.1.incr.aof');
  const { size } = statSync(file);
  for (let n = 11; n <= 100; n++) {
    report(n);
    await sleep(5);
  }
  await untilShadow(pipeline, ({ latest }) => latest?.seq === 200);
  const fencedPid = pipeline.shadow.pid;
  await redis.kill();
  // A kill alone loses nothing: the kernel has the bytes of the file. This is what a power cut leaves.
  t.ok(statSync(file).size > size + 100, 'it had written what it loses');
  truncateSync(file, size);
  await redis.restart();
  for (let n = 101; n <= 110; n++) report(n);
  // Shadow hears of it with its next write, ends, and starts again with what Redis has.
  await until(() => /Redis has lost the last (changes|positions)/.test(pipeline.shadow.output));
  await until(() => pipeline.shadow.pid !== fencedPid && pipeline.shadow.running);
  await device.flushed();
  await untilApplied(pipeline);
  await supervision.end();
  await pipeline.shadow.end('SIGKILL');
  await pipeline.shadow.start();
  const { state, version } = (await pipeline.client.shadow(THING))!;
  const keys = Array.from({ length: 110 }, (_, index): [string, number] => [`k${index + 1}`, index + 1]);
  t.strictSame(state, { reported: { n: 110, ...Object.fromEntries(keys) } });
  t.equal(version, 110);
});
