/**
 * How long a record takes on its way, at 10, 50 and 90 % of what the pipeline can do: to the ack, to the router's commit, to a
 * consumer.
 *
 * What it can do depends on how records come. In a closed loop a connection writes some 30 records at once; paced by the clock it
 * writes one or two, each write a way through the kernel on both sides, and the load itself takes a third of the machine. A share of
 * the closed loop's rate is no share of what is paced. So capacity is the first of some paced rates, falling, that is acked as
 * fast as it is offered and leaves no backlog. (Rising ones would end at the first that others' work on the machine spoils.)
 *
 * The ack at half of capacity is looked at in the closed loop's shape too: paced, and so many records a write as there are in it.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { NICE } from '../services/up/priority.js';
import type { BenchContext } from './context.js';
import { LOAD_SHAPE, type LoadOptions } from './load-options.js';
import { runLoad } from './load-run.js';
import { withPipeline, type Pipeline } from './pipeline.js';
import type { BenchProcess } from './processes.js';
import { atMost, RowCollector, type PartResult } from './results.js';
import { queuedRecords } from './services.js';
import { median } from './statistics.js';

/** How records come, and at which shares of the capacity in that shape it is measured. */
interface Shape {
  readonly recordsAWrite: number;
  readonly levels: readonly number[];
}

/** A connection of the closed loop writes about half of its 64 at once: those that one commit acked. */
const SHAPES: readonly Shape[] = [
  { recordsAWrite: 1, levels: [0.1, 0.5, 0.9] },
  { recordsAWrite: 32, levels: [0.5] },
];
const JUDGED = 0.5;
const CLOSED = 'closed loop';
/** Shares of the closed loop's rate that are offered to find the capacity, until one is sustained. The first warms up and is not judged. */
const OFFERED = [0.2, 0.8, 0.65, 0.5, 0.35, 0.2] as const;
const OFFERED_SECONDS = 2;
/** What counts as sustained: so much of what was offered is acked in the window, and so many seconds of it lie in queues then. */
const LEAST_ACKED = 0.98;
const MOST_BACKLOG_SECONDS = 0.25;
const DRAIN_DEADLINE_MS = 60_000;
const POLL_MS = 10;

/** The part `hops`. */
export async function benchHops(context: BenchContext): Promise<PartResult> {
  const rows = new RowCollector();
  for (let round = 1; round <= context.options.rounds; round++) {
    let closed = 0;
    await withPipeline(context, async (pipeline) => {
      closed = await measureClosed(context, pipeline);
    });
    rows.add(CLOSED, 'consumed', 'records/s', closed);
    for (const shape of SHAPES) await measureShape(context, rows, shape, closed);
  }
  return {
    part: 'hops',
    method:
      'Paced loads (open loops) that fall find the highest rate that the pipeline sustains; open loops then offer a share of it, each on a new pipeline whose router and consumer run behind the edge, as with holdfast up. Times to router and consumer are those of the first record of each batch, by the clocks in batch and record, which count in ms.',
    settings: {
      rounds: context.options.rounds,
      seconds: context.options.seconds,
      connections: LOAD_SHAPE.connections,
      'payload bytes': LOAD_SHAPE.payloadBytes,
      sustained: `${LEAST_ACKED * 100} % of the rate acked, under ${MOST_BACKLOG_SECONDS} s of it in queues after ${OFFERED_SECONDS} s`,
    },
    rows: rows.rows,
    verdicts: SHAPES.map((shape) => {
      const side = sideOf(shape, JUDGED);
      return atMost(`ack p99 at ${side}, ms`, median(rows.values(side, 'ack p99')), 10);
    }),
    notes: [],
  };
}

function writesOf({ recordsAWrite }: Shape): string {
  return recordsAWrite === 1 ? '' : `, ${recordsAWrite} records a write`;
}

function sideOf(shape: Shape, level: number): string {
  return `${level * 100} % of capacity${writesOf(shape)}`;
}

async function measureShape(context: BenchContext, rows: RowCollector, shape: Shape, closed: number): Promise<void> {
  let capacity = 0;
  await withPipeline(
    context,
    async (pipeline) => {
      capacity = await findCapacity(context, pipeline, shape, closed);
    },
    NICE,
  );
  rows.add(`paced, highest sustained${writesOf(shape)}`, 'consumed', 'records/s', capacity);
  for (const level of shape.levels) {
    const side = sideOf(shape, level);
    const load = { recordsPerSecond: Math.round(level * capacity), recordsAWrite: shape.recordsAWrite };
    await withPipeline(context, (pipeline) => measure(context, rows, pipeline, side, load), NICE);
    context.say(`${side}, ack p99 ${rows.values(side, 'ack p99').at(-1)!.toFixed(2)} ms`);
  }
}

/** @returns what a closed loop gets through to the consumer, in records/s */
async function measureClosed(context: BenchContext, { edge, consumer }: Pipeline): Promise<number> {
  const { seconds, warmupSeconds } = context.options;
  let first = { records: 0, ms: 0 };
  let last = first;
  await runLoad({ protocol: 'binary', port: edge.port, seconds, warmupSeconds }, [], {
    onMeasuring: async () => {
      first = { records: (await count(consumer))['records']!, ms: performance.now() };
    },
    onMeasured: async () => {
      last = { records: (await count(consumer))['records']!, ms: performance.now() };
    },
  });
  return ((last.records - first.records) * 1000) / (last.ms - first.ms);
}

/** @throws Error where not even the lowest rate is sustained */
async function findCapacity(
  context: BenchContext,
  pipeline: Pipeline,
  { recordsAWrite }: Shape,
  closed: number,
): Promise<number> {
  const { edge, router } = pipeline;
  for (const [index, share] of OFFERED.entries()) {
    const offered = Math.round(share * closed);
    let backlog = 0;
    const request = { protocol: 'binary', port: edge.port, seconds: OFFERED_SECONDS, warmupSeconds: 1 } as const;
    const { recordsPerSecond } = await runLoad({ ...request, recordsPerSecond: offered, recordsAWrite }, [], {
      onMeasured: async () => {
        backlog = (await queuedRecords(edge)) + (await queuedRecords(router));
      },
    });
    const isSustained = recordsPerSecond >= LEAST_ACKED * offered && backlog <= MOST_BACKLOG_SECONDS * offered;
    const seconds = (backlog / offered).toFixed(2);
    context.say(`offered ${offered}: ${Math.round(recordsPerSecond)} acked/s, ${seconds} s of it in queues`);
    if (isSustained && index > 0) return offered;
    await drained(pipeline);
  }
  throw new Error(`the pipeline does not sustain ${Math.round(OFFERED[0] * closed)} records/s`);
}

async function drained({ edge, router }: Pipeline): Promise<void> {
  const until = performance.now() + DRAIN_DEADLINE_MS;
  while ((await queuedRecords(edge)) + (await queuedRecords(router)) > 0) {
    if (performance.now() > until) throw new Error(`the queues were not empty within ${DRAIN_DEADLINE_MS} ms`);
    await sleep(POLL_MS);
  }
}

async function measure(
  context: BenchContext,
  rows: RowCollector,
  { edge, router, consumer }: Pipeline,
  side: string,
  load: Pick<LoadOptions, 'recordsPerSecond' | 'recordsAWrite'>,
): Promise<void> {
  const { seconds, warmupSeconds } = context.options;
  const request = { protocol: 'binary', port: edge.port, seconds, warmupSeconds } as const;
  const { values, cores, recordsPerSecond } = await runLoad({ ...request, ...load }, [edge.process, router.process], {
    onMeasuring: async () => {
      await count(consumer);
    },
    onMeasured: async () => {
      const way = await count(consumer);
      for (const [name, key] of [
        ['edge → router', 'toRouter'],
        ['router → consumer', 'toConsumer'],
      ] as const) {
        rows.add(side, `${name} p50`, 'ms', way[`${key}P50Ms`]!);
        rows.add(side, `${name} p99`, 'ms', way[`${key}P99Ms`]!);
      }
    },
  });
  rows.add(side, 'acks', 'records/s', recordsPerSecond);
  rows.add(side, 'ack p50', 'ms', values['ackP50Ms']!);
  rows.add(side, 'ack p99', 'ms', values['ackP99Ms']!);
  rows.add(side, 'due → ack p99', 'ms', values['dueToAckP99Ms']!);
  for (const [name, used] of cores) rows.add(side, `CPU of ${name} a record`, 'µs', (used * 1e6) / recordsPerSecond);
}

async function count(consumer: BenchProcess): Promise<Readonly<Record<string, number>>> {
  consumer.send({ event: 'count', values: {} });
  return consumer.message('counted');
}
