/** Prometheus metrics (prom-client): every name starts with `holdfast_`, base units, no device ids as labels. */
import { readdir, stat } from 'node:fs/promises';
import { Counter, Gauge, Histogram, Registry, collectDefaultMetrics } from 'prom-client';

export { Counter, Gauge, Histogram, Registry };

/** Buckets for acks and hops, in seconds. */
export const LATENCY_BUCKETS = [0.0005, 0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60];

/** What a queue's gauges show; see Queue.stats. */
export interface QueueGauges {
  readonly records: number;
  readonly bytes: number;
  readonly quotaBytes: number;
  readonly oldestSeconds: number;
  readonly fileBytes: number;
  readonly retainedBytes: number;
  readonly quarantined: number;
}

/**
 * Gives a counter its series before the first event: a rate then begins at 0, a board shows 0 and not nothing, and the first event is
 * an increase.
 */
export function startAtZero<L extends string>(counter: Counter<L>, label: L, values: readonly string[]): void {
  for (const value of values) counter.inc({ [label]: value } as Partial<Record<L, string>>, 0);
}

/** Registers a gauge that is read when it is scraped. */
export function registerGauge(registry: Registry, name: string, help: string, read: () => number): void {
  new Gauge({
    name,
    help,
    registers: [registry],
    collect() {
      this.set(read());
    },
  });
}

/** A registry whose metrics carry {service}, with the process's own metrics in it. */
export function createRegistry(service: string): Registry {
  const registry = new Registry();
  registry.setDefaultLabels({ service });
  collectDefaultMetrics({ register: registry, prefix: 'holdfast_' });
  if (process.platform === 'linux') countOpenFiles(registry);
  return registry;
}

/**
 * In place of prom-client's own, which reads the name of every open file on the event loop: with 15,000 connections each scrape
 * held up all acks for 20 ms.
 */
function countOpenFiles(registry: Registry): void {
  const name = 'holdfast_process_open_fds';
  registry.removeSingleMetric(name);
  new Gauge({
    name,
    help: 'Number of open file descriptors.',
    registers: [registry],
    async collect() {
      this.set(await openFiles());
    },
  });
}

/** Since Linux 6.2 the directory's size says it, see proc_pid_fd(5); before, its names are read, by another thread. */
async function openFiles(): Promise<number> {
  const directory = '/proc/self/fd';
  const { size } = await stat(directory);
  if (size > 0) return size;
  const names = await readdir(directory);
  // One of them was this look at them.
  return names.length - 1;
}

/** Registers the gauges that every queue has, read when they are scraped. */
export function registerQueueGauges(registry: Registry, queue: string, read: () => QueueGauges): void {
  const gauge = (name: string, help: string, pick: (stats: QueueGauges) => number): void => {
    new Gauge({
      name: `holdfast_queue_${name}`,
      help,
      labelNames: ['queue'],
      registers: [registry],
      collect() {
        this.set({ queue }, pick(read()));
      },
    });
  };
  gauge('records', 'records that are not released yet', (stats) => stats.records);
  gauge('bytes', 'bytes of batches that are not released yet', (stats) => stats.bytes);
  gauge('quota_bytes', 'bytes at which appends are refused', (stats) => stats.quotaBytes);
  gauge('oldest_seconds', 'age of the oldest batch that is not released yet', (stats) => stats.oldestSeconds);
  gauge('file_bytes', 'size of the LMDB file', (stats) => stats.fileBytes);
  gauge('retained_bytes', 'bytes of released batches kept for replay', (stats) => stats.retainedBytes);
  gauge('quarantined_batches', 'damaged batches set aside in quarantine/', (stats) => stats.quarantined);
}
