/**
 * 1,000,000 things in each store: what they take on disk (and of Redis' memory), and how long `holdfast shadow` takes from its
 * start to being ready and to its first answer about one of them. The files are in the kernel's page cache, as after the
 * restart of a process. Redis' own restart with the same data stands beside: shadow is not told to wait for it.
 */
import { readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { packagePath } from '../shared/paths.js';
import type { BenchContext } from './context.js';
import { httpGet, startNode, untilAnswers } from './processes.js';
import { Redis, REDIS_EVERY_SECOND } from './peers/redis.js';
import { atMost, formatNumber, type RowCollector, type Verdict } from './results.js';
import { newRouterAddresses, startRouter, startShadow } from './services.js';
import { deviceOf } from './shadow-reports.js';

export const STORED_THINGS = 1_000_000;
const DEADLINE_MS = 300_000;

type Settings = Readonly<Record<string, string>>;

export async function measureSize(context: BenchContext, rows: RowCollector, hasRedis: boolean): Promise<Verdict[]> {
  const verdicts = [await measureLmdb(context, rows)];
  if (hasRedis) verdicts.push(await measureRedis(context, rows));
  return verdicts;
}

async function measureLmdb(context: BenchContext, rows: RowCollector): Promise<Verdict> {
  const side = `lmdb with ${formatNumber(STORED_THINGS)} things`;
  const directory = context.newDirectory('shadow');
  const settings = { SHADOW_STORE: 'lmdb', SHADOW_DIRECTORY: directory };
  try {
    await fill(context, rows, side, settings);
    rows.add(side, 'on disk', 'MB', diskBytes(directory) / 1e6);
    return await timeStart(context, rows, side, settings);
  } finally {
    context.remove(directory);
  }
}

async function measureRedis(context: BenchContext, rows: RowCollector): Promise<Verdict> {
  const side = `redis with ${formatNumber(STORED_THINGS)} things`;
  const directory = context.newDirectory('redis');
  let redis = await Redis.start(directory, REDIS_EVERY_SECOND);
  try {
    await fill(context, rows, side, { SHADOW_STORE: 'redis', SHADOW_REDIS: redis.url });
    rows.add(side, 'on disk', 'MB', diskBytes(directory) / 1e6);
    rows.add(side, 'used_memory', 'MB', (await redis.usedBytes()) / 1e6);
    await redis.process.stop();
    const startedMs = performance.now();
    redis = await Redis.start(directory, REDIS_EVERY_SECOND);
    rows.add(side, "Redis' own restart", 's', (performance.now() - startedMs) / 1000);
    return await timeStart(context, rows, side, { SHADOW_STORE: 'redis', SHADOW_REDIS: redis.url });
  } finally {
    await redis.process.stop('SIGKILL');
    context.remove(directory);
  }
}

async function fill(context: BenchContext, rows: RowCollector, side: string, settings: Settings): Promise<void> {
  const script = packagePath('dist', 'bench', 'writing-things.js');
  const child = startNode('writing things', script, [String(STORED_THINGS)], settings);
  try {
    await child.message('ready');
    child.send({ event: 'begin', values: {} });
    const { seconds, bytes } = await child.message('done', DEADLINE_MS);
    child.send({ event: 'end', values: {} });
    await child.finished(DEADLINE_MS);
    rows.add(side, 'filled, and encoded before', 'things/s', STORED_THINGS / seconds!);
    rows.add(side, 'a value', 'bytes', bytes! / STORED_THINGS);
    context.say(`${side} filled in ${seconds!.toFixed(1)} s`);
  } finally {
    await child.stop('SIGKILL');
  }
}

async function timeStart(
  context: BenchContext,
  rows: RowCollector,
  side: string,
  settings: Settings,
): Promise<Verdict> {
  const queue = context.newDirectory('router');
  const router = await startRouter(context, queue, 'shadow', await newRouterAddresses());
  try {
    const startedMs = performance.now();
    const shadow = await startShadow(context, router.addresses, settings);
    try {
      await untilAnswers(shadow.process, shadow.adminPort, '/readyz');
      const readySeconds = (performance.now() - startedMs) / 1000;
      const { status, body } = await httpGet(shadow.port, `/things/${deviceOf(STORED_THINGS >> 1)}/shadow`);
      const answeredSeconds = (performance.now() - startedMs) / 1000;
      if (status !== 200) throw new Error(`${side}: GET of a shadow answers ${status} ${body}`);
      rows.add(side, 'start to ready', 's', readySeconds);
      rows.add(side, 'start to first answer', 's', answeredSeconds);
      rows.add(side, 'resident after it', 'MB', shadow.process.memory().residentBytes / 1e6);
      context.say(`${side}: first answer after ${answeredSeconds.toFixed(2)} s`);
      return atMost(`s to the first answer, ${side}`, answeredSeconds, 5);
    } finally {
      await shadow.process.stop();
    }
  } finally {
    await router.process.stop();
    context.remove(queue);
  }
}

/** Bytes of all files in a directory and below, as the disk has them: a file may have holes. */
function diskBytes(directory: string): number {
  const names = readdirSync(directory, { recursive: true, encoding: 'utf8' });
  return names.reduce((sum, name) => sum + statSync(join(directory, name)).blocks * 512, 0);
}
