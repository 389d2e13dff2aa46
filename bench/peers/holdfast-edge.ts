/** The edge itself, as a peer among peers: its router is away, and its queue's file has had its size before. */
import type { BenchContext } from '../context.js';
import { freePort } from '../ports.js';
import { emptyQueue, primeQueue } from '../primed-queue.js';
import { queuedRecords, startEdge } from '../services.js';
import type { Peer, RunningPeer } from './peer.js';

/** More than the fastest side can write in a second: what the queue is primed with. */
export const PRIMED_BYTES_PER_SECOND = 320_000_000;

/** @returns a peer whose queue is removed in the end */
export async function holdfastEdge(context: BenchContext): Promise<Peer & { remove(): void }> {
  const queue = context.newDirectory('edge');
  const { seconds, warmupSeconds } = context.options;
  context.say('priming a queue');
  await primeQueue(queue, (seconds + warmupSeconds) * PRIMED_BYTES_PER_SECOND);
  return {
    name: 'Holdfast edge',
    load: { protocol: 'binary' },
    ackMeans: 'written and fsynced',
    settings: 'defaults: binary protocol, payload bytes opaque, router away',
    start: () => start(context, queue),
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
