/** A whole pipeline at half of what it can take, with a fault every some seconds, and what grows meanwhile. */
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { DATA_FILE } from '../../shared/queue/store.js';
import { drained } from '../support/crash-run.js';
import { Pipeline, type PipelineService } from '../support/pipeline.js';
import { until } from '../support/processes.js';
import { query } from '../support/storage.js';
import { busySession, killBackends } from './dependencies.js';
import { Fleet } from './fleet.js';
import { PositionWatch } from './history/positions.js';
import { outcomeOf, stopwatch, type Outcome } from './outcome.js';
import { descriptorsOf, fileSizeOf, memoryOf, Series } from './samples.js';
import { scheduleOf, type Scheduled } from './schedule.js';

export interface SoakOptions {
  readonly lengthMs: number;
  readonly intervalMs: number;
  readonly seed: number;
  readonly devices: number;
  /** How long it runs as fast as it can first, to learn what half of that is. */
  readonly calibrateMs: number;
}

export interface SoakResult {
  readonly outcome: Outcome;
  readonly recordsPerSecond: number;
  readonly ackedRecords: number;
  /** Rows of a table, as Series has them. */
  readonly rows: readonly string[];
}

const SAMPLE_MS = 1_000;
const SERVICES: readonly PipelineService[] = ['edge', 'router', 'storage'];

export async function soak(options: SoakOptions, say: (line: string) => void): Promise<SoakResult> {
  const pipeline = await Pipeline.start({ environment: { ROUTER_RETAIN: '64MiB' } });
  const fleet = new Fleet(pipeline.edgeUrl, options.devices, { prefix: 'soak', reportEvery: 20 });
  try {
    const seconds = stopwatch();
    await fleet.during(sleep(options.calibrateMs));
    await fleet.flushed();
    await drained(pipeline);
    const recordsPerSecond = Math.round(fleet.history.ackedRecords / seconds() / 2);
    fleet.recordsPerSecond = recordsPerSecond;
    say(`${recordsPerSecond} records/s, half of what came into the table in ${seconds().toFixed(1)} s`);
    const watch = await PositionWatch.start(pipeline.edgeQueue, pipeline.routerQueue, pipeline.databaseUrl);
    const sampler = new Sampler(pipeline, fleet);
    const recoverySeconds = await fleet.during(meetAll(pipeline, options, say));
    await sampler.stop();
    await fleet.flushed();
    await drained(pipeline);
    await watch.stop();
    const { databaseUrl } = pipeline;
    const findings = await fleet.history.check({ databaseUrl, positions: watch.samples });
    const outcome = { ...outcomeOf('soak', [findings], recoverySeconds), tries: recoverySeconds.length };
    const { ackedRecords } = fleet.history;
    return { outcome, recordsPerSecond, ackedRecords, rows: sampler.rows };
  } finally {
    await fleet.close();
    fleet.history.close();
    await pipeline.stop();
  }
}

async function meetAll(pipeline: Pipeline, options: SoakOptions, say: (line: string) => void): Promise<number[]> {
  const startMs = Date.now();
  const recoverySeconds: number[] = [];
  for (const scheduled of scheduleOf(options.seed, options.lengthMs, options.intervalMs)) {
    await sleep(Math.max(0, startMs + scheduled.atMs - Date.now()));
    await meet(pipeline, scheduled);
    const seconds = stopwatch();
    await Promise.all(SERVICES.map((name) => pipeline.services[name].untilReady()));
    await until(async () => (await pipeline.services.edge.metric('holdfast_queue_oldest_seconds')) < 1);
    await until(async () => (await pipeline.services.router.metric('holdfast_queue_oldest_seconds')) < 1);
    recoverySeconds.push(seconds());
    say(
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

/** Looks at everything that must not grow, every second. */
class Sampler {
  readonly #series = new Map<string, Series>();
  readonly #timer: NodeJS.Timeout;
  readonly #startMs = Date.now();
  #waiting: { readonly seq: number; readonly sentMs: number } | undefined;

  constructor(
    private readonly pipeline: Pipeline,
    private readonly fleet: Fleet,
  ) {
    const [device] = fleet.devices;
    device!.on('ack', (seq) => {
      if (this.#waiting === undefined || seq < this.#waiting.seq) return;
      this.#add('ms from a record to its ack', Date.now() - this.#waiting.sentMs);
      this.#waiting = undefined;
    });
    this.#timer = setInterval(() => this.#sample(), SAMPLE_MS);
  }

  get rows(): string[] {
    return [...this.#series.values()].map(({ row }) => row);
  }

  /** Ends with what the tables take. */
  async stop(): Promise<void> {
    clearInterval(this.#timer);
    const [size] = await query<{ bytes: number }>(
      this.pipeline.databaseUrl,
      'select pg_database_size(current_database())::float8 as bytes',
    );
    this.#add('MiB of the database', size!.bytes / 2 ** 20);
  }

  #sample(): void {
    const { services, edgeQueue, routerQueue } = this.pipeline;
    for (const name of SERVICES) {
      if (!services[name].running) continue;
      this.#add(`MiB of memory of the ${name}`, memoryOf(services[name].pid));
      this.#add(`file descriptors of the ${name}`, descriptorsOf(services[name].pid));
    }
    this.#add("MiB of the edge's data.mdb", fileSizeOf(join(edgeQueue, DATA_FILE)));
    this.#add("MiB of the router's data.mdb", fileSizeOf(join(routerQueue, DATA_FILE)));
    // The next record of this device is sent within moments.
    this.#waiting ??= { seq: this.fleet.devices[0]!.lastSeq + 1, sentMs: Date.now() };
  }

  #add(name: string, value: number): void {
    const series = this.#series.get(name) ?? new Series(name);
    this.#series.set(name, series);
    series.add(Date.now() - this.#startMs, value);
  }
}
