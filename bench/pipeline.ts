/**
 * Edge → router → PUB → a consumer that counts: what passes through both queues and both links, each hop durable.
 *
 *   closed   the load keeps 64 records in flight a connection, so the edge takes all it can get while the hops behind it
 *            share the same cores: what arrives at the consumer in the window is what the pipeline sustains at overload
 *   paced    the load sends what is asked for and not more: the backlogs at the end say whether the pipeline kept up
 *
 * When the load has stopped, the rest drains, and everything that was acked must have arrived.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { BenchContext } from './context.js';
import { LOAD_SHAPE } from './load-options.js';
import { runLoad } from './load-run.js';
import { packagePath } from '../shared/paths.js';
import { startNode, untilAnswers, type BenchProcess } from './processes.js';
import { atLeast, atMost, RowCollector, type PartResult } from './results.js';
import {
  newRouterAddresses,
  queuedRecords,
  startEdge,
  startRouter,
  type EdgeService,
  type RouterService,
} from './services.js';
import { median } from './statistics.js';

const CONSUMER = 'counter';
const TARGET_RECORDS_PER_SECOND = 300_000;
const DRAIN_DEADLINE_MS = 60_000;
const POLL_MS = 10;
const CLOSED = 'closed loop';
const PACED = 'paced';

export interface Pipeline {
  readonly edge: EdgeService;
  readonly router: RouterService;
  readonly consumer: BenchProcess;
}

/** The part `pipeline`. */
export async function benchPipeline(context: BenchContext): Promise<PartResult> {
  const rows = new RowCollector();
  for (let round = 1; round <= context.options.rounds; round++) {
    for (const [side, recordsPerSecond] of [
      [CLOSED, 0],
      [PACED, TARGET_RECORDS_PER_SECOND],
    ] as const) {
      await withPipeline(context, (pipeline) => measure(context, pipeline, side, recordsPerSecond, rows));
      context.say(`round ${round}: ${side} ${Math.round(rows.values(side, 'consumed').at(-1)!)} records/s`);
    }
  }
  const backlog =
    median(rows.values(PACED, 'backlog at the edge')) + median(rows.values(PACED, 'backlog at the router'));
  return {
    part: 'pipeline',
    method:
      'Devices → edge → router → PUB → a counting consumer, all on this machine. CPU a record counts each process from the beginning of the load to the end of the drain.',
    settings: {
      rounds: context.options.rounds,
      seconds: context.options.seconds,
      'warm-up seconds': context.options.warmupSeconds,
      connections: LOAD_SHAPE.connections,
      'in flight': LOAD_SHAPE.inFlight,
      'payload bytes': LOAD_SHAPE.payloadBytes,
      'paced records/s': TARGET_RECORDS_PER_SECOND,
      edge: 'EDGE_VALIDATE_PAYLOADS=false',
    },
    rows: rows.rows,
    verdicts: [
      atLeast('consumed, closed loop', median(rows.values(CLOSED, 'consumed')), TARGET_RECORDS_PER_SECOND),
      atLeast('consumed, paced', median(rows.values(PACED, 'consumed')), 0.98 * TARGET_RECORDS_PER_SECOND),
      atMost('backlog after the paced load, in seconds of it', backlog / TARGET_RECORDS_PER_SECOND, 1),
    ],
    notes: [],
  };
}

/** Runs work on a pipeline of its own. @param wrapper words before the commands of router and consumer */
export async function withPipeline(
  context: BenchContext,
  work: (pipeline: Pipeline) => Promise<void>,
  wrapper: readonly string[] = [],
): Promise<void> {
  const queues = [context.newDirectory('edge'), context.newDirectory('router')] as const;
  const started: BenchProcess[] = [];
  try {
    const addresses = await newRouterAddresses();
    const router = await startRouter(context, queues[1], CONSUMER, addresses, wrapper);
    started.push(router.process);
    const edge = await startEdge(context, queues[0], addresses.intake);
    started.push(edge.process);
    const script = packagePath('dist', 'bench', 'counting-consumer.js');
    const consumer = startNode('consumer', script, [CONSUMER, addresses.consumers, addresses.publish], {}, [], wrapper);
    started.push(consumer);
    await consumer.message('started');
    await untilAnswers(edge.process, edge.adminPort, '/readyz');
    await work({ edge, router, consumer });
  } finally {
    for (const process of started.reverse()) await process.stop();
    queues.forEach((queue) => context.remove(queue));
  }
}

async function measure(
  context: BenchContext,
  { edge, router, consumer }: Pipeline,
  side: string,
  recordsPerSecond: number,
  rows: RowCollector,
): Promise<void> {
  const processes = [edge.process, router.process, consumer];
  const cpuBefore = processes.map((process) => process.cpuSeconds());
  let first = { records: 0, ms: 0 };
  let last = first;
  const { seconds, warmupSeconds } = context.options;
  const request = { protocol: 'binary', port: edge.port, seconds, warmupSeconds, recordsPerSecond } as const;
  const result = await runLoad(request, [], {
    onMeasuring: async () => {
      first = await consumed(consumer);
    },
    onMeasured: async () => {
      last = await consumed(consumer);
      rows.add(side, 'backlog at the edge', 'records', await queuedRecords(edge));
      rows.add(side, 'backlog at the router', 'records', await queuedRecords(router));
    },
  });
  rows.add(side, 'consumed', 'records/s', ((last.records - first.records) / (last.ms - first.ms)) * 1000);
  rows.add(side, 'acked at the edge', 'records/s', result.recordsPerSecond);
  const drainMs = await untilConsumed(consumer, result.sent);
  rows.add(side, 'to drain', 's', drainMs / 1000);
  processes.forEach((process, i) => {
    const microseconds = ((process.cpuSeconds() - cpuBefore[i]!) * 1e6) / result.sent;
    rows.add(side, `CPU of ${process.name} a record`, 'µs', microseconds);
  });
  rows.add(side, 'CPU of the load', 'cores', result.loadCores);
}

async function consumed(consumer: BenchProcess): Promise<{ records: number; ms: number }> {
  consumer.send({ event: 'count', values: {} });
  const { records } = await consumer.message('counted');
  return { records: records ?? Number.NaN, ms: performance.now() };
}

/**
 * Waits until the consumer has all telemetry; sessions add one record when they begin and one when they end.
 * @returns how long it took, in ms
 * @throws Error where records are missing after a minute, or are too many
 */
async function untilConsumed(consumer: BenchProcess, sent: number): Promise<number> {
  const begunMs = performance.now();
  for (;;) {
    const { records, ms } = await consumed(consumer);
    if (records > sent + 2 * LOAD_SHAPE.connections) throw new Error(`${records} records arrived, ${sent} were sent`);
    if (records >= sent + LOAD_SHAPE.connections) return ms - begunMs;
    if (ms - begunMs > DRAIN_DEADLINE_MS)
      throw new Error(`${records} records arrived of ${sent} and the sessions' own`);
    await sleep(POLL_MS);
  }
}
