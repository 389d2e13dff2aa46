/** What a process counts of its devices; those of several processes add up. */

export interface Counters {
  /** Devices that may send. */
  up: number;
  /** Records made, each once. */
  made: number;
  /** Records sent, as often as they were. */
  sent: number;
  /** Those of them that had been sent before. */
  resent: number;
  acked: number;
  /** By the edge: it will never take them. */
  refused: number;
  /** Records that a device gave up for newer ones, its buffer being full. */
  dropped: number;
  /** Records that are neither acked nor refused nor given up. */
  buffered: number;
  /** Of those, the ones that were there when the network last came back. */
  backlog: number;
  /** Connections after the first of each device. */
  reconnects: number;
  /** Attempts that the edge sent away with a time to come back, and connections that it closed so. */
  sentAway: number;
  /** Connections and attempts that ended otherwise. */
  broken: number;
}

export function noCounters(): Counters {
  return {
    up: 0,
    made: 0,
    sent: 0,
    resent: 0,
    acked: 0,
    refused: 0,
    dropped: 0,
    buffered: 0,
    backlog: 0,
    reconnects: 0,
    sentAway: 0,
    broken: 0,
  };
}

/** The sum of several processes' counters. */
export function sumCounters(all: Iterable<Readonly<Counters>>): Counters {
  const sum = noCounters();
  for (const counters of all) {
    for (const name of Object.keys(sum) as (keyof Counters)[]) sum[name] += counters[name];
  }
  return sum;
}
