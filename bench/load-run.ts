/** Runs the load generator against something and says what both sides did in the measured window. */
import { LOAD_SHAPE, type LoadOptions } from './load-options.js';
import { packagePath } from '../shared/paths.js';
import { startNode, type BenchProcess } from './processes.js';
import type { RowCollector } from './results.js';

/** Beyond the window: connecting, and the drain at the end. */
const GRACE_MS = 120_000;

export interface LoadResult {
  readonly records: number;
  readonly seconds: number;
  readonly recordsPerSecond: number;
  /** Records sent from the first to the last, warm-up included; all of them were acked. */
  readonly sent: number;
  /** CPU of the load generator, in cores. */
  readonly loadCores: number;
  /** CPU of each watched process, in cores, by name. */
  readonly cores: ReadonlyMap<string, number>;
  /** What the loop measured besides: latencies of an open loop, in ms. */
  readonly values: Readonly<Record<string, number>>;
}

/** What is measured: its CPU is counted in the window. */
export interface Watched {
  readonly name: string;
  cpuSeconds(): number;
}

export type LoadRequest = Pick<LoadOptions, 'protocol' | 'port'> & Partial<LoadOptions>;

/** Moments of a load at which a part may look at what it measures. */
export interface LoadHooks {
  /** Of Node, for the load's own process. */
  readonly nodeOptions?: readonly string[];
  readonly onMeasuring?: (load: BenchProcess) => Promise<void> | void;
  readonly onMeasured?: () => Promise<void> | void;
}

/**
 * Runs one load to its end: every record that it sent was acked.
 * @param watched processes whose CPU is counted in the window
 */
export async function runLoad(
  request: LoadRequest,
  watched: readonly Watched[],
  hooks: LoadHooks = {},
): Promise<LoadResult> {
  const options: LoadOptions = {
    ...LOAD_SHAPE,
    warmupSeconds: 0,
    seconds: 0,
    recordsPerSecond: 0,
    recordsAWrite: 1,
    records: 0,
    ...request,
  };
  const deadlineMs = (options.warmupSeconds + options.seconds) * 1000 + GRACE_MS;
  const script = packagePath('dist', 'bench', 'load.js');
  const load = startNode('load', script, [JSON.stringify(options)], {}, hooks.nodeOptions);
  try {
    await load.message('measuring', deadlineMs);
    const before = watched.map((process) => process.cpuSeconds());
    await hooks.onMeasuring?.(load);
    const values = await load.message('measured', deadlineMs);
    const after = watched.map((process) => process.cpuSeconds());
    await hooks.onMeasured?.();
    const { sent } = await load.message('drained', deadlineMs);
    await load.finished(deadlineMs);
    const { records, seconds, cpuSeconds } = values;
    if (sent === undefined || records === undefined || seconds === undefined || cpuSeconds === undefined) {
      throw new Error(`the load told ${JSON.stringify(values)}`);
    }
    const cores = watched.map((process, i) => [process.name, (after[i]! - before[i]!) / seconds] as const);
    return {
      records,
      seconds,
      recordsPerSecond: records / seconds,
      sent,
      loadCores: cpuSeconds / seconds,
      cores: new Map(cores),
      values,
    };
  } finally {
    await load.stop('SIGKILL');
  }
}

/** Puts a load's rate and CPU into rows of a side. */
export function collectLoad(rows: RowCollector, side: string, result: LoadResult): void {
  rows.add(side, 'acks', 'records/s', result.recordsPerSecond);
  for (const [name, cores] of result.cores) {
    rows.add(side, `CPU of ${name}`, 'cores', cores);
    rows.add(side, 'CPU of it a record', 'µs', (cores * 1e6) / result.recordsPerSecond);
  }
  rows.add(side, 'CPU of the load', 'cores', result.loadCores);
}
