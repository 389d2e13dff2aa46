/**
 * How long a record takes on its way, at 10, 50 and 90 % of what the pipeline can do: to the ack, to the router's commit, to a
 * consumer. Capacity is what a closed loop of load gets through to the consumer, found first, on the same pipeline.
 */
import { NICE } from '../services/up/priority.js';
import type { BenchContext } from './context.js';
import { LOAD_SHAPE } from './load-options.js';
import { runLoad } from './load-run.js';
import { withPipeline, type Pipeline } from './pipeline.js';
import type { BenchProcess } from './processes.js';
import { atMost, RowCollector, type PartResult } from './results.js';

import { median } from './statistics.js';

const LEVELS = [0.1, 0.5, 0.9] as const;
const JUDGED = 0.5;
const CAPACITY = 'closed loop';

/** The part `hops`. */
export async function benchHops(context: BenchContext): Promise<PartResult> {
  const rows = new RowCollector();
  for (let round = 1; round <= context.options.rounds; round++) {
    let capacity = 0;
    await withPipeline(context, async (pipeline) => {
      capacity = await measureCapacity(context, pipeline);
      rows.add(CAPACITY, 'consumed', 'records/s', capacity);
    });
    for (const level of LEVELS) {
      await withPipeline(context, (pipeline) => measure(context, rows, pipeline, level, capacity), NICE);
      const p99 = rows.values(sideOf(level), 'ack p99').at(-1)!;
      context.say(`round ${round}: ${sideOf(level)}, ack p99 ${p99.toFixed(2)} ms`);
    }
  }
  return {
    part: 'hops',
    method:
      'A closed loop finds what the pipeline can do; open loops then offer a share of it, each on a new pipeline whose router and consumer run behind the edge, as with holdfast up. Times to router and consumer are those of the first record of each batch, by the clocks in batch and record, which count in ms.',
    settings: {
      rounds: context.options.rounds,
      seconds: context.options.seconds,
      connections: LOAD_SHAPE.connections,
      'payload bytes': LOAD_SHAPE.payloadBytes,
    },
    rows: rows.rows,
    verdicts: [atMost('ack p99 at 50 % of capacity, ms', median(rows.values(sideOf(JUDGED), 'ack p99')), 10)],
    notes: [],
  };
}

function sideOf(level: number): string {
  return `${level * 100} % of capacity`;
}

async function measureCapacity(context: BenchContext, { edge, consumer }: Pipeline): Promise<number> {
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

async function measure(
  context: BenchContext,
  rows: RowCollector,
  { edge, router, consumer }: Pipeline,
  level: number,
  capacity: number,
): Promise<void> {
  const { seconds, warmupSeconds } = context.options;
  const side = sideOf(level);
  const request = { protocol: 'binary', port: edge.port, seconds, warmupSeconds } as const;
  const { values, cores, recordsPerSecond } = await runLoad(
    { ...request, recordsPerSecond: Math.round(level * capacity) },
    [edge.process, router.process],
    {
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
    },
  );
  rows.add(side, 'acks', 'records/s', recordsPerSecond);
  rows.add(side, 'ack p50', 'ms', values['ackP50Ms']!);
  rows.add(side, 'ack p99', 'ms', values['ackP99Ms']!);
  for (const [name, used] of cores) rows.add(side, `CPU of ${name} a record`, 'µs', (used * 1e6) / recordsPerSecond);
}

async function count(consumer: BenchProcess): Promise<Readonly<Record<string, number>>> {
  consumer.send({ event: 'count', values: {} });
  return consumer.message('counted');
}
