/**
 * Durable acks a second at the edge, beside the same server without a queue and beside Redis with the same load.
 *
 * The edge's router is away, so that what is measured is the edge: everything stays in its queue. Its queue's file has had
 * its size before (primed-queue.ts says why); one side shows a new file that grows. Every round starts every side anew and
 * looks afterwards whether what was acked is really there.
 */
import type { BenchContext } from './context.js';
import { collectLoad, runLoad, type LoadRequest, type LoadResult } from './load-run.js';
import { LOAD_SHAPE } from './load-options.js';
import { PRIMED_BYTES_PER_SECOND } from './peers/holdfast-edge.js';
import { emptyQueue, primeQueue } from './primed-queue.js';
import { packagePath } from '../shared/paths.js';
import { freePort } from './ports.js';
import { startNode, type BenchProcess } from './processes.js';
import { describeRedis, Redis, REDIS_SETTINGS, redisVersion } from './peers/redis.js';
import { atLeast, formatNumber, RowCollector, type PartResult, type Verdict } from './results.js';
import { queuedRecords, startEdge } from './services.js';
import { median } from './statistics.js';

const COUNTING = 'counting server';
const EDGE = 'edge';
const REDIS = 'redis';
const GROWING = 'edge, new queue that grows';

interface Side {
  readonly name: string;
  readonly run: (context: BenchContext, primed: string) => Promise<LoadResult>;
}

const ALL_SIDES: readonly Side[] = [
  { name: COUNTING, run: runCounting },
  { name: EDGE, run: (context, primed) => runPrimed(context, primed, 'binary', {}) },
  { name: REDIS, run: runRedis },
  { name: GROWING, run: runGrowing },
  {
    name: 'edge, payloads validated',
    run: (context, primed) => runPrimed(context, primed, 'binary', { EDGE_VALIDATE_PAYLOADS: 'true' }),
  },
  { name: 'edge, JSON protocol', run: (context, primed) => runPrimed(context, primed, 'json', {}) },
];

/** The part `edge`. */
export async function benchEdge(context: BenchContext): Promise<PartResult> {
  const rows = new RowCollector();
  const hasRedis = (await redisVersion()) !== undefined;
  const sides = ALL_SIDES.filter(({ name }) => name !== REDIS || hasRedis);
  const { seconds, warmupSeconds } = context.options;
  const primed = context.newDirectory('edge');
  context.say('priming a queue');
  await primeQueue(primed, (seconds + warmupSeconds) * PRIMED_BYTES_PER_SECOND);
  for (let round = 1; round <= context.options.rounds; round++) {
    for (const { name, run } of sides) {
      const result = await run(context, primed);
      collectLoad(rows, name, result);
      context.say(`round ${round}: ${name} ${Math.round(result.recordsPerSecond)} records/s`);
    }
  }
  context.remove(primed);
  const verdicts: Verdict[] = [atLeast('edge / counting server', median(rows.ratios('acks', EDGE, COUNTING)), 0.7)];
  if (hasRedis) verdicts.push(atLeast('edge / redis', median(rows.ratios('acks', EDGE, REDIS)), 3));
  return {
    part: 'edge',
    method:
      'A closed loop of devices against one server process at a time; the sides alternate, the ratios are medians of the ratios of each round.',
    settings: {
      rounds: context.options.rounds,
      seconds: context.options.seconds,
      'warm-up seconds': context.options.warmupSeconds,
      connections: LOAD_SHAPE.connections,
      'in flight': LOAD_SHAPE.inFlight,
      'payload bytes': LOAD_SHAPE.payloadBytes,
      edge: 'EDGE_VALIDATE_PAYLOADS=false (payload bytes opaque), router away, the file of its queue at its size',
      redis: describeRedis(REDIS_SETTINGS),
    },
    rows: rows.rows,
    verdicts,
    notes: hasRedis
      ? [`${GROWING} / redis, both in files that grow: ${formatNumber(median(rows.ratios('acks', GROWING, REDIS)))}`]
      : ['There is no redis-server on the PATH: that side was not measured.'],
  };
}

export async function startCountingServer(
  context: BenchContext,
  nodeOptions: readonly string[] = [],
): Promise<{ process: BenchProcess; port: number }> {
  const script = packagePath('dist', 'bench', 'counting-server.js');
  const process = startNode('counting server', script, [], {}, [...context.nodeOptions, ...nodeOptions]);
  const { port } = await process.message('listening');
  if (port === undefined) throw new Error('the counting server did not tell its port');
  return { process, port };
}

async function runCounting(context: BenchContext): Promise<LoadResult> {
  const { process, port } = await startCountingServer(context);
  try {
    return await runLoad(window(context, { protocol: 'binary', port }), [process]);
  } finally {
    await process.stop();
  }
}

async function runPrimed(
  context: BenchContext,
  queue: string,
  protocol: 'binary' | 'json',
  settings: Readonly<Record<string, string>>,
): Promise<LoadResult> {
  const result = await runEdge(context, queue, protocol, settings);
  await emptyQueue(queue);
  return result;
}

async function runGrowing(context: BenchContext): Promise<LoadResult> {
  const queue = context.newDirectory('edge');
  try {
    return await runEdge(context, queue, 'binary', {});
  } finally {
    context.remove(queue);
  }
}

async function runEdge(
  context: BenchContext,
  queue: string,
  protocol: 'binary' | 'json',
  settings: Readonly<Record<string, string>>,
): Promise<LoadResult> {
  const edge = await startEdge(context, queue, `tcp://127.0.0.1:${await freePort()}`, settings);
  try {
    const result = await runLoad(window(context, { protocol, port: edge.port }), [edge.process]);
    const queued = await queuedRecords(edge);
    if (queued < result.sent) throw new Error(`the edge acked ${result.sent} records and has ${queued} in its queue`);
    return result;
  } finally {
    await edge.process.stop();
  }
}

async function runRedis(context: BenchContext): Promise<LoadResult> {
  const directory = context.newDirectory('redis');
  const redis = await Redis.start(directory);
  try {
    const result = await runLoad(window(context, { protocol: 'redis', port: redis.port }), [redis.process]);
    const entries = await redis.entries();
    if (entries !== result.sent) throw new Error(`Redis answered ${result.sent} times and has ${entries} entries`);
    return result;
  } finally {
    await redis.process.stop();
    context.remove(directory);
  }
}

function window(context: BenchContext, request: LoadRequest): LoadRequest {
  const { seconds, warmupSeconds } = context.options;
  return { ...request, seconds, warmupSeconds };
}
