/**
 * Redis that is away, silent, full or in the way, under a shadow that keeps its things there and a fleet that reports. Redis is
 * set up as for production, with `appendfsync everysec`: it may lose what shadow has written, and then shadow ends, is started
 * again as a supervisor does it, and applies once more what the router has kept.
 */
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { CutProxy } from '../support/cut-proxy.js';
import { until } from '../support/processes.js';
import { TestRedis, type TestRedisOptions } from '../support/redis.js';
import { ShadowPipeline } from '../support/shadow-pipeline.js';
import { Supervision } from '../support/supervision.js';
import { Fleet } from './fleet.js';
import type { Findings } from './history/findings.js';
import { Mount, type MountKind } from './mount.js';
import { outcomeOf, stopwatch, type Outcome } from './outcome.js';

interface Stage {
  readonly pipeline: ShadowPipeline;
  readonly redis: TestRedis;
  /** How long a fault lasts, ms. */
  readonly forMs: number;
}

type Fault = (stage: Stage) => Promise<void>;

const DEVICES = 10;
const REPORT_EVERY = 2;
const TIMES = 10;
const MIB = 2 ** 20;
/** The router keeps everything, so that its queue can be checked; shadow writes as often as it can. */
const ENVIRONMENT = { ROUTER_RETAIN: '1GiB', SHADOW_FLUSH: '20ms' } as const;

/** Shadow has noticed that Redis is away, or that it takes nothing. */
async function untilInTrouble({ pipeline }: Stage): Promise<void> {
  await until(() => /is away; shadow goes on|the store cannot be written/.test(pipeline.shadow.output));
}

/** Shadow is writing; one that ended and was started again counts from 0. */
async function untilWritten({ pipeline }: Stage): Promise<void> {
  const written = (): Promise<number> => pipeline.shadow.metric('holdfast_things_written_total').catch(() => 0);
  const before = await written();
  await until(async () => ![0, before].includes(await written()));
}

async function cutConnections(redis: TestRedis): Promise<void> {
  await redis.client.call('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes');
}

/** A limit of Redis is set so that it is reached, and taken back. */
const limited =
  (name: string, reached: string, free: string): Fault =>
  async (stage) => {
    await stage.redis.client.config('SET', name, reached);
    await cutConnections(stage.redis);
    await untilInTrouble(stage);
    await sleep(stage.forMs);
    await stage.redis.client.config('SET', name, free);
  };

/** Every fault that needs nothing but Redis, by what it is called in the table. */
export const REDIS_FAULTS: Readonly<Record<string, Fault>> = {
  'Redis killed': async (stage) => {
    await stage.redis.kill();
    await untilInTrouble(stage);
    await sleep(stage.forMs);
    await stage.redis.restart();
  },
  'Redis silent (SIGSTOP)': async (stage) => {
    stage.redis.pause();
    await untilInTrouble(stage);
    await sleep(stage.forMs);
    stage.redis.goOn();
  },
  'connections of Redis cut (CLIENT KILL), again and again': async (stage) => {
    for (let time = 0; time < TIMES; time++) {
      await untilWritten(stage);
      await cutConnections(stage.redis);
    }
  },
  'maxmemory of Redis reached': limited('maxmemory', '1', '0'),
  // The only one is the test's.
  'maxclients of Redis reached': limited('maxclients', '1', '10000'),
};

/** A shadow over Redis, under load through a fault. */
export function meetRedisFault(name: string, forMs: number): Promise<Outcome> {
  return withRedis(name, { appendfsync: 'everysec' }, forMs, REDIS_FAULTS[name]!);
}

/** Connections cut within writes: before Redis gets one, or after it has done it. */
export async function cutWrites(times: number): Promise<Outcome> {
  const proxies: CutProxy[] = [];
  const throughProxy = async (url: string): Promise<string> => {
    const proxy = await CutProxy.start(url, 'evalsha');
    proxies.push(proxy);
    return proxy.url;
  };
  const fault: Fault = async (stage) => {
    const [proxy] = proxies;
    for (let time = 0; time < times; time++) {
      await untilWritten(stage);
      const before = proxy!.cuts;
      proxy!.arm(time % 2 === 0 ? 'before' : 'after');
      await until(() => proxy!.cuts > before);
    }
  };
  try {
    const name = 'connections of Redis cut within a write';
    const outcome = await withRedis(name, { appendfsync: 'everysec' }, 0, fault, throughProxy);
    return { ...outcome, tries: times };
  } finally {
    for (const proxy of proxies) await proxy.stop();
  }
}

/** The disk of the append-only file is full: with everysec Redis refuses writes, with always it ends. */
export function fullRedisDisk(appendfsync: 'everysec' | 'always', forMs: number): Promise<Outcome> {
  const name = `the disk of Redis' append-only file full, appendfsync ${appendfsync}`;
  return onMount('tmpfs', 32 * MIB, (mount) =>
    withRedis(name, { appendfsync, directoryIn: mount.path }, forMs, async (stage) => {
      mount.fill(0);
      await untilInTrouble(stage);
      await sleep(stage.forMs);
      mount.empty();
      if (!stage.redis.running) await stage.redis.restart();
    }),
  );
}

/** That disk turns read-only beneath Redis, with what was not synced yet; it is repaired, and Redis started again. */
export function readOnlyRedisDisk(forMs: number): Promise<Outcome> {
  const name = "the disk of Redis' append-only file turns read-only";
  return onMount('ext4', 64 * MIB, (mount) =>
    withRedis(name, { appendfsync: 'everysec', directoryIn: mount.path }, forMs, async (stage) => {
      mount.abort();
      await untilInTrouble(stage);
      await sleep(stage.forMs);
      await stage.redis.kill();
      mount.repair();
      await stage.redis.restart();
    }),
  );
}

async function onMount(kind: MountKind, bytes: number, work: (mount: Mount) => Promise<Outcome>): Promise<Outcome> {
  const mount = Mount.make(kind, bytes);
  try {
    return await work(mount);
  } finally {
    mount.remove();
  }
}

async function withRedis(
  name: string,
  options: TestRedisOptions,
  forMs: number,
  fault: Fault,
  throughProxy: (url: string) => Promise<string> = (url) => Promise.resolve(url),
): Promise<Outcome> {
  // Rewrites of the file would be somebody else's writes on a small disk.
  const redis = await TestRedis.start({ ...options, settings: ['--auto-aof-rewrite-percentage', '0'] });
  try {
    const redisUrl = await throughProxy(redis.url);
    const pipeline = await ShadowPipeline.open({ redisUrl, environment: ENVIRONMENT });
    try {
      return await meet(name, { pipeline, redis, forMs }, fault);
    } finally {
      await pipeline.stop();
    }
  } finally {
    await redis.stop();
  }
}

async function meet(name: string, stage: Stage, fault: Fault): Promise<Outcome> {
  const { pipeline } = stage;
  const fleet = new Fleet(pipeline.edge.url, DEVICES, { prefix: 'shadow', turnRecords: 2, reportEvery: REPORT_EVERY });
  const supervision = new Supervision(pipeline.shadow);
  try {
    fleet.send(10);
    await fleet.flushed();
    await untilApplied(pipeline);
    await fleet.during(fault(stage));
    const seconds = stopwatch();
    await fleet.flushed();
    await untilApplied(pipeline);
    const recoverySeconds = [seconds()];
    await supervision.end();
    return outcomeOf(name, [await check(pipeline, fleet)], recoverySeconds);
  } finally {
    await supervision.end();
    await fleet.close();
    fleet.history.close();
  }
}

/** Shadow has written everything that was acked, and the router may forget it. */
async function untilApplied({ edge, router, shadow }: ShadowPipeline): Promise<void> {
  await shadow.untilReady();
  for (const service of [edge.process, router]) {
    await until(async () => (await service.metric('holdfast_queue_records')) === 0);
  }
}

/** Of a shadow that has nothing in memory yet: what is compared is what Redis holds. */
async function check({ directory, shadow, client }: ShadowPipeline, fleet: Fleet): Promise<Findings> {
  await shadow.end('SIGKILL');
  await shadow.start();
  return fleet.history.check({
    routerQueue: join(directory, 'router'),
    shadows: async (thing) => (await client.shadow(thing))?.state.reported,
  });
}
