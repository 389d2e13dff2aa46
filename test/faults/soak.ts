/**
 * A whole pipeline at half of what it can take, or at a rate that it is told, with a fault every some seconds, and what grows
 * meanwhile. What it keeps of a run is a byte a record, samples every few seconds, and the positions of every 20 ms.
 */
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { drained } from '../support/crash-run.js';
import { MALLOC_ENVIRONMENT } from '../../shared/malloc.js';
import { Pipeline, type PipelineService } from '../support/pipeline.js';
import { until } from '../support/processes.js';
import { query } from '../support/storage.js';
import { capacityOf } from './capacity.js';
import { busySession, killBackends } from './dependencies.js';
import { checkRoom } from './disk-need.js';
import { Fleet } from './fleet.js';
import type { Findings } from './history/findings.js';
import { PositionWatch } from './history/positions.js';
import { mallocWatchEnvironment } from './malloc-watch.js';
import { outcomeOf, stopwatch } from './outcome.js';
import { scheduleOf, type Scheduled } from './schedule.js';
import type { SoakResult } from './soak-report.js';
import { SoakSampler } from './soak-sampler.js';

export interface SoakOptions {
  readonly lengthMs: number;
  readonly intervalMs: number;
  readonly seed: number;
  readonly devices: number;
  /** How long it runs as fast as it can first, to learn what half of that is. */
  readonly calibrateMs: number;
  /** What to send in place of half of what it can take; then nothing is learned first. */
  readonly recordsPerSecond?: number | undefined;
  /** Breaks it off; what it has begun is ended and removed. */
  readonly signal?: AbortSignal;
}

/** From the end of a fault until the queues are empty, and from the last record until the table has it. */
const RECOVERY_TIMEOUT_MS = 600_000;
const SERVICES: readonly PipelineService[] = ['edge', 'router', 'storage'];

/** @throws Error where the disk has no room for it, what was sent does not arrive, or it was broken off */
export async function soak(options: SoakOptions, say: (line: string) => void): Promise<SoakResult> {
  const story: string[] = [];
  const tell = (line: string): void => {
    story.push(line);
    say(line);
  };
  const mallocDirectory = await mkdtemp(join(tmpdir(), 'holdfast-malloc-'));
  try {
    return { ...(await soakWith(options, mallocDirectory, tell)), story };
  } finally {
    await rm(mallocDirectory, { recursive: true, force: true });
  }
}

async function soakWith(
  options: SoakOptions,
  mallocDirectory: string,
  tell: (line: string) => void,
): Promise<Omit<SoakResult, 'story'>> {
  const environment = { ...MALLOC_ENVIRONMENT, ROUTER_RETAIN: '64MiB', ...mallocWatchEnvironment(mallocDirectory) };
  const pipeline = await Pipeline.start({ environment });
  const fleet = new Fleet(pipeline.edgeUrl, options.devices, { prefix: 'soak', reportEvery: 20 });
  try {
    const run = soakIn(pipeline, fleet, options, mallocDirectory, tell);
    const { signal } = options;
    run.catch(() => undefined);
    if (signal !== undefined) await Promise.race([run, brokenOff(signal)]);
    return await run;
  } finally {
    await fleet.close();
    fleet.history.close();
    await pipeline.stop();
  }
}

async function brokenOff(signal: AbortSignal): Promise<never> {
  if (!signal.aborted) await once(signal, 'abort');
  throw new Error('the soak was broken off');
}

async function soakIn(
  pipeline: Pipeline,
  fleet: Fleet,
  options: SoakOptions,
  mallocDirectory: string,
  tell: (line: string) => void,
): Promise<Omit<SoakResult, 'story'>> {
  const recordsPerSecond = options.recordsPerSecond ?? (await halfOfCapacity(pipeline, fleet, options, tell));
  checkRoom(tmpdir(), (recordsPerSecond * options.lengthMs) / 1_000);
  fleet.recordsPerSecond = recordsPerSecond;
  tell(`the soak sends ${recordsPerSecond} records/s`);
  const watch = await PositionWatch.start(pipeline.edgeQueue, pipeline.routerQueue, pipeline.databaseUrl);
  const sampler = new SoakSampler(pipeline, fleet, options.lengthMs, mallocDirectory);
  const recoverySeconds = await fleet.during(meetAll(pipeline, options, tell));
  await sampler.stop();
  await within(
    'everything that was sent is in the table',
    fleet.flushed().then(() => drained(pipeline)),
  );
  await watch.stop();
  const findings = await checkAll(pipeline, fleet, watch, tell);
  const outcome = { ...outcomeOf('soak', [findings], recoverySeconds), tries: recoverySeconds.length };
  return { outcome, rows: sampler.rows, series: sampler.series };
}

async function halfOfCapacity(
  pipeline: Pipeline,
  fleet: Fleet,
  { calibrateMs }: SoakOptions,
  tell: (line: string) => void,
): Promise<number> {
  const capacity = await capacityOf(pipeline, fleet, calibrateMs);
  await fleet.flushed();
  await drained(pipeline);
  tell(`devices, edge, router, storage and database together take ${Math.round(capacity)} records/s here for long`);
  return Math.round(capacity / 2);
}

async function checkAll(
  pipeline: Pipeline,
  fleet: Fleet,
  watch: PositionWatch,
  tell: (line: string) => void,
): Promise<Findings> {
  const { databaseUrl } = pipeline;
  const text = 'select pg_database_size(current_database())::float8 / 2 ^ 20 as mebibytes';
  const [size] = await query<{ mebibytes: number }>(databaseUrl, text);
  const records = fleet.history.ackedRecords;
  tell(`${records} records were acked; the database has ${Math.round(size!.mebibytes)} MiB; now it is read`);
  const seconds = stopwatch();
  const findings = await fleet.history.check({ databaseUrl, positions: watch.samples });
  const mebibytes = Math.round(process.memoryUsage().rss / 2 ** 20);
  tell(`the check took ${seconds().toFixed(0)} s, and the process that does it has ${mebibytes} MiB`);
  return findings;
}

/** Waits for `work`. @throws Error where it takes longer than any recovery does */
async function within(what: string, work: Promise<unknown>): Promise<void> {
  const timeout = new AbortController();
  const late = sleep(RECOVERY_TIMEOUT_MS, true, { signal: timeout.signal }).catch(() => false);
  const isLate = await Promise.race([work.then(() => false), late]);
  timeout.abort();
  if (isLate) throw new Error(`after ${RECOVERY_TIMEOUT_MS} ms it is still not so that ${what}`);
}

/** All services are ready, and no queue holds anything that is old. */
async function recovered({ services }: Pipeline): Promise<void> {
  await Promise.all(SERVICES.map((name) => services[name].untilReady()));
  for (const name of ['edge', 'router'] as const) {
    await until(async () => (await services[name].metric('holdfast_queue_oldest_seconds')) < 1);
  }
}

async function meetAll(pipeline: Pipeline, options: SoakOptions, tell: (line: string) => void): Promise<number[]> {
  const startMs = Date.now();
  const recoverySeconds: number[] = [];
  for (const scheduled of scheduleOf(options.seed, options.lengthMs, options.intervalMs)) {
    await sleep(Math.max(0, startMs + scheduled.atMs - Date.now()));
    await meet(pipeline, scheduled);
    const seconds = stopwatch();
    await within(`it has recovered from ${scheduled.fault}`, recovered(pipeline));
    recoverySeconds.push(seconds());
    tell(
      `${scheduled.atMs / 1_000} s: ${scheduled.fault} (${scheduled.forMs} ms), recovered in ${seconds().toFixed(1)} s`,
    );
  }
  await sleep(Math.max(0, startMs + options.lengthMs - Date.now()));
  return recoverySeconds;
}

async function meet(pipeline: Pipeline, { fault, forMs }: Scheduled): Promise<void> {
  const { databaseUrl, postgres, services } = pipeline;
  switch (fault) {
    case 'kill edge':
    case 'kill router':
    case 'kill storage': {
      const service = services[fault.slice('kill '.length) as PipelineService];
      await service.end('SIGKILL');
      await service.start();
      return;
    }
    case 'stop edge':
    case 'stop router':
    case 'stop storage': {
      const { pid } = services[fault.slice('stop '.length) as PipelineService];
      process.kill(pid, 'SIGSTOP');
      await sleep(forMs);
      process.kill(pid, 'SIGCONT');
      return;
    }
    case 'kill postgres':
      await postgres.kill();
      await postgres.restart();
      return;
    case 'halt postgres':
      await postgres.halt();
      await sleep(forMs);
      await postgres.restart();
      return;
    case 'lock table': {
      const session = await busySession(databaseUrl, 'begin', 'lock table telemetry in access exclusive mode');
      await sleep(forMs);
      await session.close();
      return;
    }
    case 'end backends':
      await killBackends(databaseUrl);
  }
}
