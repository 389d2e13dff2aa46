/**
 * One, two and four edges before one router and a counting consumer, under one paced load that is shared among them: what a
 * record costs must not grow with the number of edges.
 */
import type { BenchContext } from './context.js';
import { runLoad } from './load-run.js';
import { packagePath } from '../shared/paths.js';
import { startNode, untilAnswers, type BenchProcess } from './processes.js';
import { atMost, RowCollector, type PartResult } from './results.js';
import { newRouterAddresses, readMetric, startEdge, startRouter, type EdgeService } from './services.js';
import { median } from './statistics.js';

const CONSUMER = 'counter';
const EDGES = [1, 2, 4] as const;
/** Of all edges together: under what the machine can do, so that nobody waits for a core for long. */
const RECORDS_PER_SECOND = 150_000;
const CONNECTIONS = 100;
const CPU = 'CPU of all edges a record';
const COMMITS = 'holdfast_commit_seconds_count';

/** The part `scaling`. */
export async function benchScaling(context: BenchContext): Promise<PartResult> {
  const rows = new RowCollector();
  for (let round = 1; round <= context.options.rounds; round++) {
    for (const edges of EDGES) {
      await measure(context, rows, edges);
      context.say(`round ${round}: ${edges} edges, ${rows.values(sideOf(edges), CPU).at(-1)!.toFixed(2)} µs a record`);
    }
  }
  const [one, ...more] = EDGES;
  return {
    part: 'scaling',
    method:
      'Open loops of load, one for each edge, which share the same rate; edges, router and a counting consumer on the same machine. CPU counts all edges together in the measured window.',
    settings: {
      rounds: context.options.rounds,
      seconds: context.options.seconds,
      'records/s of all': RECORDS_PER_SECOND,
      'connections of all': CONNECTIONS,
    },
    rows: rows.rows,
    verdicts: more.map((edges) => {
      const ratio = median(rows.ratios(CPU, sideOf(edges), sideOf(one)));
      return atMost(`CPU a record, ${edges} edges / ${one}`, ratio, 1.1);
    }),
    notes: [
      'Commits are shared by what arrives meanwhile: at one rate, more edges make more and smaller commits, and that is what grows.',
    ],
  };
}

function sideOf(edges: number): string {
  return edges === 1 ? '1 edge' : `${edges} edges`;
}

async function measure(context: BenchContext, rows: RowCollector, count: number): Promise<void> {
  const directories = Array.from({ length: count + 1 }, () => context.newDirectory('queue'));
  const started: BenchProcess[] = [];
  try {
    const addresses = await newRouterAddresses();
    const router = await startRouter(context, directories[0]!, CONSUMER, addresses);
    started.push(router.process);
    const consumer = startNode('consumer', packagePath('dist', 'bench', 'counting-consumer.js'), [
      CONSUMER,
      addresses.consumers,
      addresses.publish,
    ]);
    started.push(consumer);
    await consumer.message('started');
    const edges: EdgeService[] = [];
    for (const directory of directories.slice(1)) {
      const edge = await startEdge(context, directory, addresses.intake);
      started.push(edge.process);
      await untilAnswers(edge.process, edge.adminPort, '/readyz');
      edges.push(edge);
    }
    await load(context, rows, edges);
  } finally {
    for (const process of started.reverse()) await process.stop();
    directories.forEach((directory) => context.remove(directory));
  }
}

async function load(context: BenchContext, rows: RowCollector, edges: readonly EdgeService[]): Promise<void> {
  const { seconds, warmupSeconds } = context.options;
  const side = sideOf(edges.length);
  const results = await Promise.all(
    edges.map(async (edge) => {
      const recordsPerSecond = RECORDS_PER_SECOND / edges.length;
      const connections = CONNECTIONS / edges.length;
      const request = {
        protocol: 'binary',
        port: edge.port,
        seconds,
        warmupSeconds,
        connections,
        recordsPerSecond,
      } as const;
      let commits = 0;
      const result = await runLoad(request, [edge.process], {
        onMeasuring: async () => {
          commits -= await readMetric(edge, COMMITS);
        },
        onMeasured: async () => {
          commits += await readMetric(edge, COMMITS);
        },
      });
      return { ...result, commits };
    }),
  );
  const rate = results.reduce((sum, result) => sum + result.recordsPerSecond, 0);
  const cores = results.reduce((sum, result) => sum + [...result.cores.values()][0]!, 0);
  rows.add(side, 'acks', 'records/s', rate);
  rows.add(side, CPU, 'µs', (cores * 1e6) / rate);
  rows.add(
    side,
    'records a commit',
    '',
    rate / results.reduce((sum, { commits, seconds }) => sum + commits / seconds, 0),
  );
  rows.add(side, 'ack p99, worst edge', 'ms', Math.max(...results.map(({ values }) => values['ackP99Ms']!)));
}
