/**
 * A whole pipeline at half of what it can take, or at a rate that it is told, with a fault every some seconds, and what grows
 * meanwhile. What it keeps of a run is a byte a record, a sample a second, and the positions of every 20 ms.
 */
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
  /** What to send in place of half of what it can take; then nothing is learned first. */
  readonly recordsPerSecond?: number | undefined;
}

export interface SoakResult {
  readonly outcome: Outcome;
  /** Rows of a table, as Series has them. */
  readonly rows: readonly string[];
}

const SAMPLE_MS = 1_000;
/** Latencies of so long make one median and one 99th percentile. */
const LATENCY_MS = 30_000;
/** From the end of a fault until the queues are empty, and from the last record until the table has it. */
const RECOVERY_TIMEOUT_MS = 600_000;
const SERVICES: readonly PipelineService[] = ['edge', 'router', 'storage'];

export async function soak(options: SoakOptions, say: (line: string) => void): Promise<SoakResult> {
  const pipeline = await Pipeline.start({ environment: { ROUTER_RETAIN: '64MiB' } });
  const fleet = new Fleet(pipeline.edgeUrl, options.devices, { prefix: 'soak', reportEvery: 20 });
  try {
    fleet.recordsPerSecond = options.recordsPerSecond ?? (await halfOfCapacity(pipeline, fleet, options.calibrateMs));
    const half = options.recordsPerSecond === undefined ? ', half of what came into the table' : '';
    say(`${fleet.recordsPerSecond} records/s${half}`);
    const watch = await PositionWatch.start(pipeline.edgeQueue, pipeline.routerQueue, pipeline.databaseUrl);
    const sampler = new Sampler(pipeline, fleet);
    const recoverySeconds = await fleet.during(meetAll(pipeline, options, say));
    await within(
      'everything that was sent is in the table',
      fleet.flushed().then(() => drained(pipeline)),
    );
    await sampler.stop();
    await watch.stop();
    say(`${fleet.history.ackedRecords} records were acked; now the table is read`);
    say('| what | first | most | last | slope of the second half, 1/h |\n| --- | --- | --- | --- | --- |');
    for (const row of sampler.rows) say(row);
    const seconds = stopwatch();
    const { databaseUrl } = pipeline;
    const findings = await fleet.history.check({ databaseUrl, positions: watch.samples });
    const mebibytes = Math.round(process.memoryUsage().rss / 2 ** 20);
    say(`the check took ${seconds().toFixed(0)} s, and this process has ${mebibytes} MiB`);
    const outcome = { ...outcomeOf('soak', [findings], recoverySeconds), tries: recoverySeconds.length };
    return { outcome, rows: sampler.rows };
  } finally {
    await fleet.close();
    fleet.history.close();
    await pipeline.stop();
  }
}

/** Sends as fast as it can, until that is in the table. @returns records/s */
async function halfOfCapacity(pipeline: Pipeline, fleet: Fleet, forMs: number): Promise<number> {
  const seconds = stopwatch();
  await fleet.during(sleep(forMs));
  await fleet.flushed();
  await drained(pipeline);
  return Math.round(fleet.history.ackedRecords / seconds() / 2);
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

async function meetAll(pipeline: Pipeline, options: SoakOptions, say: (line: string) => void): Promise<number[]> {
  const startMs = Date.now();
  const recoverySeconds: number[] = [];
  for (const scheduled of scheduleOf(options.seed, options.lengthMs, options.intervalMs)) {
    await sleep(Math.max(0, startMs + scheduled.atMs - Date.now()));
    await meet(pipeline, scheduled);
    const seconds = stopwatch();
    await within(`it has recovered from ${scheduled.fault}`, recovered(pipeline));
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
  #latencies: number[] = [];
  #latencyMs = Date.now();

  constructor(
    private readonly pipeline: Pipeline,
    private readonly fleet: Fleet,
  ) {
    fleet.onLatency = (ms) => this.#latencies.push(ms);
    this.#timer = setInterval(() => this.#sample(), SAMPLE_MS);
  }

  get rows(): string[] {
    return [...this.#series.values()].map(({ row }) => row);
  }

  /** Ends with what the tables take. */
  async stop(): Promise<void> {
    clearInterval(this.#timer);
    this.fleet.onLatency = undefined;
    this.#takeLatencies();
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
    if (Date.now() - this.#latencyMs >= LATENCY_MS) this.#takeLatencies();
  }

  /** One point for all that was timed since the last one: single latencies say more about faults than about growth. */
  #takeLatencies(): void {
    const sorted = this.#latencies.sort((a, b) => a - b);
    this.#latencies = [];
    this.#latencyMs = Date.now();
    if (sorted.length === 0) return;
    const at = (share: number): number => sorted[Math.floor(share * sorted.length)]!;
    this.#add(`ms from a record to its ack, median of ${LATENCY_MS / 1_000} s`, at(0.5));
    this.#add(`ms from a record to its ack, 99 % of ${LATENCY_MS / 1_000} s`, at(0.99));
  }

  #add(name: string, value: number): void {
    const series = this.#series.get(name) ?? new Series(name);
    this.#series.set(name, series);
    series.add(Date.now() - this.#startMs, value);
  }
}
