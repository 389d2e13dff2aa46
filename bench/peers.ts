/**
 * The edge beside what people would use instead: the same load on each, in its own protocol, and for each what its ack means.
 *
 * Only one server runs at a time; the sides alternate. A peer that cannot be started is named with its error.
 */
import { messageOf } from '../shared/errors.js';
import { barChart } from './bar-chart.js';
import type { BenchContext } from './context.js';
import { LOAD_SHAPE } from './load-options.js';
import { collectLoad, runLoad, type LoadRequest, type LoadResult } from './load-run.js';
import { holdfastPeers } from './peers/holdfast-edge.js';
import { jetStream } from './peers/jetstream.js';
import { mosquitto } from './peers/mosquitto.js';
import type { Peer } from './peers/peer.js';
import { postgresInserts } from './peers/postgres.js';
import { rabbitMq } from './peers/rabbitmq.js';
import { redisAlways, redisEverySecond } from './peers/redis-streams.js';
import { atLeast, RowCollector, type PartResult, type Verdict } from './results.js';
import { median } from './statistics.js';

const ACKS = 'acks';

/** The part `peers`. */
export async function benchPeers(context: BenchContext): Promise<PartResult> {
  const rows = new RowCollector();
  const { edge, single, remove } = await holdfastPeers(context);
  const peers: Peer[] = [edge, single, redisAlways, redisEverySecond, jetStream, rabbitMq, postgresInserts, mosquitto];
  const failures = new Map<Peer, string>();
  for (let round = 1; round <= context.options.rounds; round++) {
    for (const peer of peers.filter((each) => !failures.has(each))) {
      try {
        const result = await measure(context, peer);
        collect(rows, peer, result);
        context.say(`round ${round}: ${peer.name} ${Math.round(result.recordsPerSecond)} records/s`);
      } catch (error) {
        failures.set(peer, messageOf(error));
        context.say(`round ${round}: ${peer.name} could not be measured: ${messageOf(error)}`);
      }
    }
  }
  remove();
  const measured = peers.filter((peer) => rows.values(peer.name, ACKS).length > 0);
  const bars = measured.map((peer) => {
    return { label: peer.name, value: median(rows.values(peer.name, ACKS)), note: peer.ackMeans };
  });
  return {
    part: 'peers',
    method:
      'The same closed loop on one server at a time, each in its own protocol, over loopback; the sides alternate, ratios are medians of the ratios of each round. What an ack means differs, and stands below.',
    settings: {
      rounds: context.options.rounds,
      seconds: context.options.seconds,
      'warm-up seconds': context.options.warmupSeconds,
      connections: LOAD_SHAPE.connections,
      'in flight': LOAD_SHAPE.inFlight,
      'payload bytes': LOAD_SHAPE.payloadBytes,
    },
    rows: rows.rows,
    verdicts: [redisAlways, jetStream]
      .filter((peer) => measured.includes(peer))
      .flatMap((peer) => [edge, single].map((side) => verdict(rows, side, peer))),
    notes: [
      ...peers.map((peer) => `${peer.name}: an ack means ${peer.ackMeans}. ${peer.settings}.`),
      ...[...failures].map(([peer, error]) => `${peer.name} could not be measured: ${error}`),
    ],
    charts: [{ name: 'acks', svg: barChart('Acks a second', 'records/s', bars) }],
  };
}

function verdict(rows: RowCollector, edge: Peer, peer: Peer): Verdict {
  return atLeast(`${edge.name} / ${peer.name}`, median(rows.ratios(ACKS, edge.name, peer.name)), 4);
}

async function measure(context: BenchContext, peer: Peer): Promise<LoadResult> {
  const running = await peer.start(context);
  try {
    const { seconds, warmupSeconds } = context.options;
    const request: LoadRequest = { ...peer.load, port: running.port, seconds, warmupSeconds };
    const result = await runLoad(request, [{ name: peer.name, cpuSeconds: () => running.cpuSeconds() }]);
    const count = await running.count();
    if (count !== undefined && count < result.sent) {
      throw new Error(`${peer.name} acked ${result.sent} records and holds ${count}`);
    }
    return result;
  } finally {
    await running.stop();
  }
}

function collect(rows: RowCollector, peer: Peer, result: LoadResult): void {
  collectLoad(rows, peer.name, result);
  rows.add(peer.name, 'ack p50', 'ms', result.values['ackP50Ms']!);
  rows.add(peer.name, 'ack p99', 'ms', result.values['ackP99Ms']!);
}
