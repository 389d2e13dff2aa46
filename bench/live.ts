/** Live's fan-out: paced records through edge and router to live, and from it to 100 subscribers of everything. */
import type { BenchContext } from './context.js';
import { LOAD_SHAPE } from './load-options.js';
import { runLoad } from './load-run.js';
import { packagePath } from '../shared/paths.js';
import { startNode, untilAnswers, type BenchProcess } from './processes.js';
import { atLeast, RowCollector, type PartResult } from './results.js';
import { newRouterAddresses, startEdge, startLive, startRouter, type EdgeService } from './services.js';
import { median } from './statistics.js';

const SUBSCRIBERS = 100;
/** Each; what is offered is so many times more. */
const RECORDS_PER_SECOND = 8_000;
const TARGET = 500_000;
const SIDE = 'live';
const DELIVERIES = 'deliveries';

interface Counted {
  readonly messages: number;
  readonly dropped: number;
  readonly ms: number;
}

/** The part `live`. */
export async function benchLive(context: BenchContext): Promise<PartResult> {
  const rows = new RowCollector();
  const directories = [context.newDirectory('edge'), context.newDirectory('router')] as const;
  const started: BenchProcess[] = [];
  try {
    const addresses = await newRouterAddresses();
    // Nobody attaches as this consumer: the router keeps what it gets, and live needs no more than what is published.
    const router = await startRouter(context, directories[1], 'nobody', addresses);
    started.push(router.process);
    const live = await startLive(context, addresses);
    started.push(live.process);
    const edge = await startEdge(context, directories[0], addresses.intake);
    started.push(edge.process);
    const script = packagePath('dist', 'bench', 'live-subscribers.js');
    const subscribers = startNode('subscribers', script, [String(live.port), String(SUBSCRIBERS)]);
    started.push(subscribers);
    await subscribers.message('subscribed');
    await untilAnswers(edge.process, edge.adminPort, '/readyz');
    for (let round = 1; round <= context.options.rounds; round++) {
      await measure(context, rows, edge, live.process, subscribers);
      context.say(`round ${round}: ${Math.round(rows.values(SIDE, DELIVERIES).at(-1)!)} deliveries/s`);
    }
  } finally {
    for (const process of started.reverse()) await process.stop();
    directories.forEach((directory) => context.remove(directory));
  }
  return {
    part: 'live',
    method:
      'An open loop of records, all of which every subscriber wants; what counts is what arrives at the subscribers.',
    settings: {
      rounds: context.options.rounds,
      seconds: context.options.seconds,
      subscribers: SUBSCRIBERS,
      'records/s': RECORDS_PER_SECOND,
      'payload bytes': LOAD_SHAPE.payloadBytes,
    },
    rows: rows.rows,
    verdicts: [atLeast('deliveries a second', median(rows.values(SIDE, DELIVERIES)), TARGET)],
    notes: ['What a subscriber cannot read in time is dropped and counted: that is how live treats slow clients.'],
  };
}

async function measure(
  context: BenchContext,
  rows: RowCollector,
  edge: EdgeService,
  live: BenchProcess,
  subscribers: BenchProcess,
): Promise<void> {
  const { seconds, warmupSeconds } = context.options;
  let first: Counted = { messages: 0, dropped: 0, ms: 0 };
  let last = first;
  let cpuSeconds = 0;
  const request = { protocol: 'binary', port: edge.port, seconds, warmupSeconds } as const;
  await runLoad({ ...request, recordsPerSecond: RECORDS_PER_SECOND }, [], {
    onMeasuring: async () => {
      first = await counted(subscribers);
      cpuSeconds = -live.cpuSeconds();
    },
    onMeasured: async () => {
      last = await counted(subscribers);
      cpuSeconds += live.cpuSeconds();
    },
  });
  const deliveries = last.messages - first.messages;
  rows.add(SIDE, DELIVERIES, 'messages/s', (deliveries * 1000) / (last.ms - first.ms));
  rows.add(SIDE, 'dropped', 'messages', last.dropped - first.dropped);
  rows.add(SIDE, 'CPU a delivery', 'µs', (cpuSeconds * 1e6) / deliveries);
}

async function counted(subscribers: BenchProcess): Promise<Counted> {
  subscribers.send({ event: 'count', values: {} });
  const { messages, dropped } = await subscribers.message('counted');
  return { messages: messages ?? Number.NaN, dropped: dropped ?? Number.NaN, ms: performance.now() };
}
