/** What people would use instead, as the bench sees it: how it is started, what to say to it, and what its ack means. */
import type { BenchContext } from '../context.js';
import type { LoadRequest } from '../load-run.js';

export interface RunningPeer {
  readonly port: number;
  /** Of all its processes since they began. */
  cpuSeconds(): number;
  /** How many records it says it holds, at least those that it acked; undefined: it keeps none. */
  count(): Promise<number> | undefined;
  stop(): Promise<void>;
}

export interface Peer {
  readonly name: string;
  /** How its load differs from the others'. */
  readonly load: Pick<LoadRequest, 'protocol' | 'connections' | 'recordsAFrame'>;
  /** What is true when it has acked. */
  readonly ackMeans: string;
  readonly settings: string;
  /** @throws Error where it cannot be started: that is told, and the others go on */
  start(context: BenchContext): Promise<RunningPeer>;
}
