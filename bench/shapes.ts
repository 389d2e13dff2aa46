/**
 * The edge under loads of other shapes than the one that is compared with others: more connections, smaller and larger records,
 * JSON, many records a frame, payloads validated. One thing is varied at a time.
 */
import type { BenchContext } from './context.js';
import { collectLoad, runLoad, type LoadRequest } from './load-run.js';
import { LOAD_SHAPE } from './load-options.js';
import { PRIMED_BYTES_PER_SECOND } from './peers/holdfast-edge.js';
import { freePort } from './ports.js';
import { emptyQueue, primeQueue } from './primed-queue.js';
import { atMost, RowCollector, type PartResult } from './results.js';
import { queuedRecords, startEdge } from './services.js';
import { median } from './statistics.js';

interface Shape {
  readonly name: string;
  readonly load: Partial<LoadRequest>;
  readonly settings?: Readonly<Record<string, string>>;
}

const VALIDATED = { EDGE_VALIDATE_PAYLOADS: 'true' } as const;
/** Four frames of fifty under way. */
const FIFTY = { recordsAFrame: 50, inFlight: 200 } as const;
const BASE = '100 connections, 200 B, binary';
const MANY = '10,000 connections';
/** How often the two that are compared run, in turn: single pairs of one day had 0.97 to 1.39. */
const COMPARISONS = 3;

const SHAPES: readonly Shape[] = [
  { name: BASE, load: {} },
  { name: '1,000 connections', load: { connections: 1_000 } },
  { name: MANY, load: { connections: 10_000 }, settings: { EDGE_MEMORY: '512MiB' } },
  { name: '10,000 connections, 1 in flight', load: { connections: 10_000, inFlight: 1 } },
  { name: '50 B', load: { payloadBytes: 50 } },
  { name: '2,000 B', load: { payloadBytes: 2_000 } },
  { name: '50 records a frame', load: FIFTY },
  { name: 'validated', load: {}, settings: VALIDATED },
  { name: '50 a frame, validated', load: FIFTY, settings: VALIDATED },
  { name: 'JSON', load: { protocol: 'json' } },
  { name: 'JSON, 50 B', load: { protocol: 'json', payloadBytes: 50 } },
  { name: 'JSON, 2,000 B', load: { protocol: 'json', payloadBytes: 2_000 } },
  { name: 'JSON, 50 records a frame', load: { protocol: 'json', ...FIFTY } },
];

/** The part `shapes`. */
export async function benchShapes(context: BenchContext): Promise<PartResult> {
  const rows = new RowCollector();
  const { seconds, warmupSeconds } = context.options;
  const queue = context.newDirectory('edge');
  context.say('priming a queue');
  await primeQueue(queue, (seconds + warmupSeconds) * PRIMED_BYTES_PER_SECOND);
  const compared = SHAPES.filter(({ name }) => name === BASE || name === MANY);
  const again = Array.from({ length: COMPARISONS - 1 }, () => compared).flat();
  for (let round = 1; round <= context.options.rounds; round++) {
    for (const shape of [...SHAPES, ...again]) {
      await measure(context, rows, queue, shape);
      context.say(`round ${round}: ${shape.name} ${Math.round(rows.values(shape.name, 'acks').at(-1)!)} records/s`);
    }
  }
  context.remove(queue);
  const perRecord = rows.ratios('CPU of it a record', MANY, BASE);
  return {
    part: 'shapes',
    method:
      'The closed loop of the part `edge` with one thing varied at a time. With 10,000 connections and 64 in flight on each EDGE_MEMORY is 512 MiB, since its default is under what is then under way. It and 100 connections, the two that are compared, run three times in turn.',
    settings: { rounds: context.options.rounds, seconds, 'warm-up seconds': warmupSeconds, ...LOAD_SHAPE },
    rows: rows.rows,
    verdicts: [atMost(`CPU a record, ${MANY} / 100`, median(perRecord), 1.1)],
    notes: [
      'With one record in flight a read of a socket brings one record and an ack answers one, where 64 in flight share both: that is the price of the calls to the kernel.',
    ],
  };
}

async function measure(context: BenchContext, rows: RowCollector, queue: string, shape: Shape): Promise<void> {
  const edge = await startEdge(context, queue, `tcp://127.0.0.1:${await freePort()}`, shape.settings);
  try {
    const { seconds, warmupSeconds } = context.options;
    const request = { protocol: 'binary', port: edge.port, seconds, warmupSeconds, ...shape.load } as const;
    const result = await runLoad(request, [edge.process]);
    collectLoad(rows, shape.name, result);
    const queued = await queuedRecords(edge);
    if (queued < result.sent) throw new Error(`the edge acked ${result.sent} records and has ${queued} in its queue`);
  } finally {
    await edge.process.stop();
    await emptyQueue(queue);
  }
}
