/**
 * A fleet that sends through a pipeline while its services are killed with -9 at random moments, and the history of it.
 * The schedule of kills comes from a seed; when each kill meets which record does not.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { Fleet } from '../faults/fleet.js';
import type { History } from '../faults/history/history.js';
import { PositionWatch, type PositionSample } from '../faults/history/positions.js';
import { randomFrom } from '../faults/random.js';
import type { Pipeline, PipelineService } from './pipeline.js';
import { until, type ServiceProcess } from './processes.js';

export interface CrashRun {
  readonly devices: number;
  /** Records to send at least. */
  readonly records: number;
  /** Kills of each of these services at least. */
  readonly kills: Readonly<Partial<Record<PipelineService, number>>>;
  readonly seed: number;
  /** True: a service is killed once it has taken records since its start. Else also while it is starting. */
  readonly isAtWork?: boolean;
}

/** What became of it. */
export interface Crashed {
  readonly history: History;
  readonly positions: readonly PositionSample[];
}

const MAX_PAUSE_MS = 900;
/** With 50 devices some 20 000 records/s: every kill meets a commit, and the table can still be read in seconds. */
const TURN_RECORDS = 4;
/** More than those that a few devices make by coming back. */
const AT_WORK_RECORDS = 200;

/** Runs it until everything sent is acked and stored. */
export async function runCrashes(pipeline: Pipeline, run: CrashRun): Promise<Crashed> {
  const fleet = new Fleet(pipeline.edgeUrl, run.devices, { prefix: 'crash', turnRecords: TURN_RECORDS });
  const watch = await PositionWatch.start(pipeline.edgeQueue, pipeline.routerQueue, pipeline.databaseUrl);
  // Sending goes on until the last kill, so that every kill meets a pipeline under load.
  await fleet.during(killServices(pipeline, run), run.records);
  await fleet.flushed();
  await fleet.close();
  await drained(pipeline);
  await watch.stop();
  return { history: fleet.history, positions: watch.samples };
}

/** Waits until storage has acked everything that the router holds. */
export async function drained(pipeline: Pipeline): Promise<void> {
  const { edge, router } = pipeline.services;
  await until(async () => (await edge.metric('holdfast_queue_records')) === 0);
  await until(async () => (await router.metric('holdfast_queue_records')) === 0);
}

async function killServices({ services }: Pipeline, run: CrashRun): Promise<void> {
  const random = randomFrom(run.seed);
  const left = Object.entries(run.kills).flatMap(([name, count]) => Array<string>(count).fill(name));
  while (left.length > 0) {
    const [name] = left.splice(Math.floor(random() * left.length), 1);
    const service = services[name as PipelineService];
    if (run.isAtWork === true) await atWork(service);
    await sleep(random() * MAX_PAUSE_MS);
    await service.end('SIGKILL');
    // Sometimes it is back at once, sometimes others are killed before it is.
    service.spawn();
    if (random() < 0.7) await service.untilReady();
  }
  await Promise.all(Object.values(services).map((service) => service.untilReady()));
}

async function atWork(service: ServiceProcess): Promise<void> {
  await service.untilReady();
  await until(async () => (await service.metric('holdfast_records_in_total')) >= AT_WORK_RECORDS);
}
