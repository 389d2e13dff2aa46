/** The edge itself, as a peer among peers: its router is away, and its queue's file has had its size before. */
import type { BenchContext } from '../context.js';
import { freePort } from '../ports.js';
import { emptyQueue, primeQueue } from '../primed-queue.js';
import { queuedRecords, startEdge } from '../services.js';
import type { Peer, RunningPeer } from './peer.js';

/** More than the fastest side can write in a second: what the queue is primed with. */
export const PRIMED_BYTES_PER_SECOND = 320_000_000;

/** The edge as two peers, which differ in how their devices send: all that is ready in one message, as shared/device.ts does, or a message a record. */
export interface HoldfastPeers {
  readonly edge: Peer;
  readonly single: Peer;
  /** Removes the queue that they share. */
  readonly remove: () => void;
}

/** Primes the queue that both share. */
export async function holdfastPeers(context: BenchContext): Promise<HoldfastPeers> {
  const queue = context.newDirectory('edge');
  const { seconds, warmupSeconds } = context.options;
  context.say('priming a queue');
  await primeQueue(queue, (seconds + warmupSeconds) * PRIMED_BYTES_PER_SECOND);
  const shared = { ackMeans: 'written and fsynced', start: () => start(context, queue) };
  const settings = 'defaults: binary protocol, payload bytes opaque, router away';
  return {
    edge: {
      ...shared,
      name: 'Holdfast edge',
      load: { protocol: 'binary', recordsAFrame: 'all' },
      settings: `${settings}; records that are sent at once are one message, as shared/device.ts sends them`,
    },
    single: {
      ...shared,
      name: 'Holdfast edge, one record a frame',
      load: { protocol: 'binary' },
      settings: `${settings}; a message for each record`,
    },
    remove: () => context.remove(queue),
  };
}

async function start(context: BenchContext, queue: string): Promise<RunningPeer> {
  const edge = await startEdge(context, queue, `tcp://127.0.0.1:${await freePort()}`);
  return {
    port: edge.port,
    cpuSeconds: () => edge.process.cpuSeconds(),
    // Sessions add a record when they begin and when they end.
    count: () => queuedRecords(edge),
    stop: async () => {
      await edge.process.stop();
      await emptyQueue(queue);
    },
  };
}
