/**
 * Reports a second that shadow applies on one core, with each store, beside two things that a reader can judge it by: JSON.parse
 * alone of the same payloads, and a raw ioredis pipeline that SETs the same documents, one for each report.
 *
 * Every side is a fresh process on the same core, has seen one report of each device before, and reads the same files. A
 * side of Redis has a fresh server on the other cores. Sides alternate; ratios are taken within a round.
 */
import { packagePath } from '../shared/paths.js';
import type { BenchContext } from './context.js';
import { startNode } from './processes.js';
import type { Pinning } from './pinning.js';
import { Redis, REDIS_EVERY_SECOND } from './peers/redis.js';
import { atLeast, formatNumber, type RowCollector, type Verdict } from './results.js';
import { shadowAddresses } from './services.js';
import { REPORTS, REPORTS_A_DEVICE, writeReports, type ReportFiles } from './shadow-reports.js';
import { median } from './statistics.js';

/** What was fastest; bench/README.md says beside what. */
export const SETS_A_PIPELINE = 300;
export const PIPELINES = 2;

const PARSE = 'JSON.parse alone';
const SET = 'raw pipeline of SET';
const APPLIED = 'reports';
const DEADLINE_MS = 300_000;
/** Rounds in which bursts are measured: a side note needs no more. */
const BURST_ROUNDS = 1;

const STORES = ['lmdb', 'redis'] as const;
type StoreName = (typeof STORES)[number];

interface Side {
  readonly name: string;
  readonly script: string;
  readonly reports: string;
  readonly store?: StoreName | undefined;
}

/** @param hasRedis false: the sides of Redis are left out */
export async function measureApply(
  context: BenchContext,
  rows: RowCollector,
  pinning: Pinning,
  hasRedis: boolean,
): Promise<Verdict[]> {
  const directory = context.newDirectory('reports');
  const files = writeReports(directory);
  const stores = STORES.filter((store) => store === 'lmdb' || hasRedis);
  for (let round = 1; round <= context.options.rounds; round++) {
    for (const side of sidesOf(files, stores, hasRedis, round)) {
      const perSecond = await run(context, rows, pinning, files, side);
      context.say(`round ${round}: ${side.name} ${formatNumber(perSecond)} reports/s`);
    }
  }
  context.remove(directory);
  const verdicts = (beside: string, least: number): Verdict[] =>
    stores.map((store) => {
      const name = sideName(store);
      return atLeast(`${name} / ${beside}`, median(rows.ratios(APPLIED, name, beside)), least);
    });
  return [...verdicts(PARSE, 0.35), ...(hasRedis ? verdicts(SET, 0.7) : [])];
}

function sideName(store: StoreName): string {
  return `shadow on ${store}`;
}

function sidesOf(files: ReportFiles, stores: readonly StoreName[], hasRedis: boolean, round: number): Side[] {
  const shadow = (store: StoreName, suffix: string, reports: string): Side => ({
    name: `${sideName(store)}${suffix}`,
    script: 'applying-shadow.js',
    reports,
    store,
  });
  const sides: Side[] = [{ name: PARSE, script: 'parsing-reports.js', reports: files.mixed }];
  sides.push(...stores.map((store) => shadow(store, '', files.mixed)));
  if (hasRedis) sides.push({ name: SET, script: 'setting-things.js', reports: files.mixed });
  if (round > BURST_ROUNDS) return sides;
  return [...sides, ...stores.map((store) => shadow(store, `, ${REPORTS_A_DEVICE} in a row`, files.bursts))];
}

/** @returns reports a second */
async function run(
  context: BenchContext,
  rows: RowCollector,
  pinning: Pinning,
  files: ReportFiles,
  { name, script, reports, store }: Side,
): Promise<number> {
  const directory = context.newDirectory('shadow');
  const needsRedis = store === 'redis' || name === SET;
  const redis = needsRedis ? await Redis.start(directory, REDIS_EVERY_SECOND, pinning.others) : undefined;
  const words = [files.known, reports];
  if (name === SET) words.push(String(redis!.port), String(SETS_A_PIPELINE), String(PIPELINES));
  const settings = redis === undefined ? { SHADOW_DIRECTORY: directory } : { SHADOW_REDIS: redis.url };
  const environment = store === undefined ? {} : { SHADOW_STORE: store, ...settings, ...(await shadowAddresses()) };
  const path = packagePath('dist', 'bench', script);
  const child = startNode(name, path, words, environment, context.nodeOptions, pinning.measured);
  try {
    await child.message('ready', DEADLINE_MS);
    const redisBefore = redis?.process.cpuSeconds() ?? 0;
    child.send({ event: 'begin', values: {} });
    const { seconds, cpuSeconds, things, changes, bytes } = await child.message('done', DEADLINE_MS);
    const redisSeconds = (redis?.process.cpuSeconds() ?? 0) - redisBefore;
    child.send({ event: 'end', values: {} });
    await child.finished(DEADLINE_MS);
    const perSecond = REPORTS / seconds!;
    rows.add(name, APPLIED, 'reports/s', perSecond);
    rows.add(name, 'CPU a report', 'µs', (cpuSeconds! * 1e6) / REPORTS);
    if (redis !== undefined) rows.add(name, 'CPU of Redis a report', 'µs', (redisSeconds * 1e6) / REPORTS);
    if (things !== undefined) rows.add(name, 'things written a report', 'things', things / REPORTS);
    if (changes !== undefined) rows.add(name, 'reports a write', 'reports', REPORTS / changes);
    if (bytes !== undefined) rows.add(name, 'a value', 'bytes', bytes);
    return perSecond;
  } finally {
    await child.stop('SIGKILL');
    await redis?.process.stop('SIGKILL');
    context.remove(directory);
  }
}
