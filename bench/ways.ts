/**
 * The ways into the edge side by side: what a record costs by WebSocket, MQTT, HTTP and UDP, each acked after the same commit; and
 * MQTT beside Mosquitto, whose ack says less.
 */
import type { BenchContext } from './context.js';
import { collectLoad, runLoad, type LoadRequest } from './load-run.js';
import { LOAD_SHAPE } from './load-options.js';
import { PRIMED_BYTES_PER_SECOND } from './peers/holdfast-edge.js';
import { mosquitto } from './peers/mosquitto.js';
import { freePort } from './ports.js';
import { emptyQueue, primeQueue } from './primed-queue.js';
import { messageOf } from '../shared/errors.js';
import { atLeast, RowCollector, type PartResult } from './results.js';
import { queuedRecords, startEdge } from './services.js';
import { median } from './statistics.js';

interface Way {
  readonly name: string;
  readonly load: Partial<LoadRequest> & Pick<LoadRequest, 'protocol'>;
}

const MQTT = 'MQTT, QoS 1';
const ACKS = 'acks';

const WAYS: readonly Way[] = [
  { name: 'WebSocket, binary', load: { protocol: 'binary' } },
  { name: 'WebSocket, JSON', load: { protocol: 'json' } },
  { name: MQTT, load: { protocol: 'mqtt' } },
  { name: 'HTTP, 1 record a request', load: { protocol: 'http', inFlight: 1 } },
  { name: 'HTTP, 50 records a request', load: { protocol: 'http', inFlight: 50, recordsAFrame: 50 } },
  { name: 'UDP, 6 records a datagram', load: { protocol: 'udp', inFlight: 30 } },
];

/** The part `ways`. */
export async function benchWays(context: BenchContext): Promise<PartResult> {
  const rows = new RowCollector();
  const notes: string[] = [];
  const { seconds, warmupSeconds } = context.options;
  const queue = context.newDirectory('edge');
  context.say('priming a queue');
  await primeQueue(queue, (seconds + warmupSeconds) * PRIMED_BYTES_PER_SECOND);
  for (let round = 1; round <= context.options.rounds; round++) {
    for (const way of WAYS) await measure(context, rows, queue, way, round);
    await measureMosquitto(context, rows, round).catch((error: unknown) => {
      notes.push(`${mosquitto.name} could not be measured: ${messageOf(error)}`);
    });
  }
  context.remove(queue);
  const ratios = rows.ratios(ACKS, MQTT, mosquitto.name);
  return {
    part: 'ways',
    method:
      'The closed loop of the part `edge` by every protocol: 100 connections, and as many records in flight on each as the protocol is used with. What a record costs is the CPU of the edge, whoever limits the rate.',
    settings: { rounds: context.options.rounds, seconds, 'warm-up seconds': warmupSeconds, ...LOAD_SHAPE },
    rows: rows.rows,
    verdicts: ratios.length === 0 ? [] : [atLeast(`${MQTT} / ${mosquitto.name}`, median(ratios), 1.5)],
    notes,
  };
}

async function measure(
  context: BenchContext,
  rows: RowCollector,
  queue: string,
  { name, load }: Way,
  round: number,
): Promise<void> {
  const ports = { mqtt: await freePort(), udp: await freePort() };
  const settings = {
    EDGE_MQTT_LISTEN: `127.0.0.1:${ports.mqtt}`,
    EDGE_UDP_LISTEN: `127.0.0.1:${ports.udp}`,
    EDGE_REQUEST_RATE: '1000000',
  };
  const edge = await startEdge(context, queue, `tcp://127.0.0.1:${await freePort()}`, settings);
  try {
    const { seconds, warmupSeconds } = context.options;
    const port = load.protocol === 'mqtt' || load.protocol === 'udp' ? ports[load.protocol] : edge.port;
    const result = await runLoad({ ...load, port, seconds, warmupSeconds }, [edge.process]);
    collectLoad(rows, name, result);
    rows.add(name, 'ack p50', 'ms', result.values['ackP50Ms']!);
    rows.add(name, 'ack p99', 'ms', result.values['ackP99Ms']!);
    const queued = await queuedRecords(edge);
    if (queued < result.sent) throw new Error(`the edge acked ${result.sent} records and has ${queued} in its queue`);
    context.say(`round ${round}: ${name} ${Math.round(result.recordsPerSecond)} records/s`);
  } finally {
    await edge.process.stop();
    await emptyQueue(queue);
  }
}

async function measureMosquitto(context: BenchContext, rows: RowCollector, round: number): Promise<void> {
  const { name, load } = mosquitto;
  const running = await mosquitto.start(context);
  try {
    const { seconds, warmupSeconds } = context.options;
    const watched = [{ name, cpuSeconds: () => running.cpuSeconds() }];
    const result = await runLoad({ ...load, port: running.port, seconds, warmupSeconds }, watched);
    collectLoad(rows, name, result);
    context.say(`round ${round}: ${name} ${Math.round(result.recordsPerSecond)} records/s`);
  } finally {
    await running.stop();
  }
}
