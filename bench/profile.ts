/**
 * Where the CPU of a record goes: the part `profile`, for whoever names it. perf samples the server and the load while a load
 * runs; a table says ns a record by thread and by group of functions, and a flame graph shows the rest.
 *
 * The sampled share of a process is put onto the CPU that the process used, so the sums are those of the other parts.
 * Compiled code has frame pointers only in part: a native function may stand without its callers.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { profileDirectory, type BenchContext } from './context.js';
import { startCountingServer } from './edge.js';
import { runLoad, type LoadRequest, type LoadResult } from './load-run.js';
import { PRIMED_BYTES_PER_SECOND } from './peers/holdfast-edge.js';
import { Redis } from './peers/redis.js';
import { withPipeline } from './pipeline.js';
import { freePort } from './ports.js';
import { primeQueue } from './primed-queue.js';
import type { BenchProcess } from './processes.js';
import { FlameGraph, type FrameKind } from './profiles/flame-graph.js';
import { groupOf, isJavaScript, threadNames } from './profiles/groups.js';
import { NAMED_FRAMES, readRecording, record } from './profiles/recorder.js';
import type { Frame, Sample } from './profiles/samples.js';
import { formatNumber, RowCollector, type PartResult } from './results.js';
import { startEdge } from './services.js';
import { NICE } from '../services/up/priority.js';

/** Of the open loop through the pipeline: what the part `scaling` offers too. */
const PIPELINE_RECORDS_PER_SECOND = 150_000;
/** A group with less is left out of the table. */
const LEAST_NS = 4;

interface Side {
  readonly name: string;
  readonly run: (context: BenchContext, watch: Watch) => Promise<void>;
}

/** Loads what listens on a port, and samples the processes meanwhile. */
type Watch = (request: LoadRequest, processes: readonly BenchProcess[]) => Promise<void>;

const SIDES: readonly Side[] = [
  { name: 'counting-server', run: profileCounting },
  { name: 'edge', run: profileEdge },
  { name: 'redis', run: profileRedis },
  { name: 'pipeline', run: (context, watch) => profilePipeline(context, watch) },
];

/** The part `profile`. */
export async function benchProfile(context: BenchContext): Promise<PartResult> {
  const rows = new RowCollector();
  const { rounds, seconds } = context.options;
  context.addNodeOptions(NAMED_FRAMES);
  mkdirSync(profileDirectory(), { recursive: true });
  for (let round = 1; round <= rounds; round++) {
    for (const { name, run } of SIDES) {
      await run(context, (request, processes) => measure(context, rows, name, request, processes));
      context.say(`round ${round}: ${name}`);
    }
  }
  return {
    part: 'profile',
    method:
      'perf samples the CPU time of the server and of the load while the closed loop of the part `edge` runs, and for the pipeline an open loop. CPU a record of a process is shared out by its samples, by thread and by what was going on.',
    settings: { rounds, seconds, 'pipeline, records/s': PIPELINE_RECORDS_PER_SECOND },
    rows: rows.rows,
    verdicts: [],
    notes: ['Flame graphs of the last round: bench/results/profiles/*.svg'],
  };
}

async function profileCounting(context: BenchContext, watch: Watch): Promise<void> {
  const { process, port } = await startCountingServer(context);
  try {
    await watch({ protocol: 'binary', port }, [process]);
  } finally {
    await process.stop();
  }
}

async function profileEdge(context: BenchContext, watch: Watch): Promise<void> {
  const queue = context.newDirectory('edge');
  const { seconds, warmupSeconds } = context.options;
  await primeQueue(queue, (seconds + warmupSeconds) * PRIMED_BYTES_PER_SECOND);
  const edge = await startEdge(context, queue, `tcp://127.0.0.1:${await freePort()}`);
  try {
    await watch({ protocol: 'binary', port: edge.port }, [edge.process]);
  } finally {
    await edge.process.stop();
    context.remove(queue);
  }
}

async function profileRedis(context: BenchContext, watch: Watch): Promise<void> {
  const directory = context.newDirectory('redis');
  const redis = await Redis.start(directory);
  try {
    await watch({ protocol: 'redis', port: redis.port }, [redis.process]);
  } finally {
    await redis.process.stop();
    context.remove(directory);
  }
}

function profilePipeline(context: BenchContext, watch: Watch): Promise<void> {
  const load = { protocol: 'binary', recordsPerSecond: PIPELINE_RECORDS_PER_SECOND } as const;
  return withPipeline(
    context,
    ({ edge, router, consumer }) => watch({ ...load, port: edge.port }, [edge.process, router.process, consumer]),
    NICE,
  );
}

async function measure(
  context: BenchContext,
  rows: RowCollector,
  side: string,
  request: LoadRequest,
  processes: readonly BenchProcess[],
): Promise<void> {
  const { seconds, warmupSeconds } = context.options;
  const file = `${context.newDirectory('perf')}.data`;
  const pids = processes.map(({ pid }) => pid);
  let recording: Promise<void> = Promise.resolve();
  const result = await runLoad({ ...request, seconds, warmupSeconds }, processes, {
    nodeOptions: NAMED_FRAMES,
    onMeasuring: (load) => {
      pids.push(load.pid);
      recording = record(pids, seconds / 2, file);
      // Whoever awaits it hears of the failure: the load goes on meanwhile.
      recording.catch(() => undefined);
    },
  });
  await recording;
  const samples = await readRecording(pids, file);
  const names = new Map(pids.map((pid, index) => [pid, processes[index]?.name ?? 'load']));
  addRows(rows, side, samples, names, result);
  const flame = flameGraphOf(samples, names);
  const subtitle = `${formatNumber(result.recordsPerSecond)} records/s; ${samples.length} samples of CPU time; widths are shares of CPU, not of time`;
  writeFileSync(join(profileDirectory(), `${side}.svg`), flame.draw(`Where the CPU goes: ${side}`, subtitle));
}

/** ns a record, by process, thread and group. */
function addRows(
  rows: RowCollector,
  side: string,
  samples: readonly Sample[],
  names: ReadonlyMap<number, string>,
  result: LoadResult,
): void {
  rows.add(side, 'acks', 'records/s', result.recordsPerSecond);
  for (const [pid, process] of names) {
    const own = samples.filter((sample) => sample.pid === pid);
    const threads = threadNames(own);
    const cores = result.cores.get(process) ?? result.loadCores;
    const nsARecord = (cores * 1e9) / result.recordsPerSecond;
    rows.add(side, process, 'ns', nsARecord);
    const counts = new Map<string, number>();
    for (const sample of own) {
      const thread = threads.get(sample.tid)!;
      for (const key of [`${process}, ${thread}`, `${process}, ${thread}: ${groupOf(sample)}`]) {
        counts.set(key, (counts.get(key) ?? 0) + 1);
      }
    }
    for (const key of [...counts.keys()].sort()) {
      const ns = (counts.get(key)! / own.length) * nsARecord;
      if (ns >= LEAST_NS) rows.add(side, key, 'ns', ns);
    }
  }
}

function flameGraphOf(samples: readonly Sample[], names: ReadonlyMap<number, string>): FlameGraph {
  const flame = new FlameGraph();
  const threads = threadNames(samples);
  for (const { pid, tid, frames } of samples) {
    const thread = { name: `${names.get(pid) ?? 'load'}, ${threads.get(tid)!}`, kind: 'thread' } as const;
    const path = [...frames].reverse().map((frame) => ({ name: frame.name, kind: kindOf(frame) }));
    flame.add([thread, ...path]);
  }
  return flame;
}

function kindOf(frame: Frame): FrameKind {
  if (frame.file === '[kernel]') return 'kernel';
  return isJavaScript(frame) ? 'javascript' : 'native';
}
