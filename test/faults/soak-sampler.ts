/** Looks at everything of a soak that must not grow. */
import { join } from 'node:path';
import { DATA_FILE } from '../../shared/queue/store.js';
import type { Pipeline, PipelineService } from '../support/pipeline.js';
import type { Fleet } from './fleet.js';
import { mallocUse } from './malloc-watch.js';
import { descriptorsOf, fileSizeOf, memoryOf, Series, type Reduction } from './samples.js';

/** Samples of a soak; no closer than the least ms and no further apart than the most. */
const SAMPLES = 1_440;
const [LEAST_MS, MOST_MS] = [200, 2_500];
const SERVICES: readonly PipelineService[] = ['edge', 'router', 'storage'];

export class SoakSampler {
  readonly #series = new Map<string, Series>();
  readonly #timer: NodeJS.Timeout;
  readonly #startMs = Date.now();
  /** As many samples make one median and one 99th percentile of the latency. */
  readonly #latencyMs: number;
  #latencies: number[] = [];
  #latencySinceMs = Date.now();
  #sampling: Promise<void> = Promise.resolve();

  constructor(
    private readonly pipeline: Pipeline,
    private readonly fleet: Fleet,
    private readonly lengthMs: number,
    private readonly mallocDirectory: string,
  ) {
    const sampleMs = Math.min(MOST_MS, Math.max(LEAST_MS, lengthMs / SAMPLES));
    this.#latencyMs = 12 * sampleMs;
    fleet.onLatency = (ms) => this.#latencies.push(ms);
    this.#timer = setInterval(() => {
      this.#sampling = this.#sampling.then(() => this.#sample());
    }, sampleMs);
  }

  /** By name. */
  get series(): ReadonlyMap<string, Series> {
    return this.#series;
  }

  /** Of a table: see Series. Slopes are those of the second half; no service has been killed for a sixth before it. */
  get rows(): string[] {
    return [...this.#series.values()].map((series) => series.rowSince(this.lengthMs / 2));
  }

  async stop(): Promise<void> {
    clearInterval(this.#timer);
    await this.#sampling;
    this.fleet.onLatency = undefined;
    this.#takeLatencies();
  }

  async #sample(): Promise<void> {
    const { services, edgeQueue, routerQueue } = this.pipeline;
    for (const name of SERVICES) {
      if (!services[name].running) continue;
      const { anonymous, files } = memoryOf(services[name].pid);
      this.#add(`MiB of memory of the ${name}`, anonymous);
      const heap = (await this.#metric(name, 'holdfast_nodejs_heap_size_total_bytes')) / 2 ** 20;
      const used = (await this.#metric(name, 'holdfast_nodejs_heap_size_used_bytes')) / 2 ** 20;
      this.#add(`MiB in use in V8's heap of the ${name}, least of 5 min`, used, 'least');
      this.#add(`MiB of memory of the ${name} beside V8's heap`, anonymous - heap);
      const malloc = mallocUse(this.mallocDirectory, services[name].pid);
      this.#add(`MiB that malloc has given out in the ${name}, least of 5 min`, malloc.givenOut, 'least');
      this.#add(`MiB that malloc holds for the ${name}`, malloc.held);
      this.#add(`MiB of files that the ${name} has mapped`, files);
      this.#add(`file descriptors of the ${name}`, descriptorsOf(services[name].pid));
    }
    this.#add("MiB of the edge's data.mdb", fileSizeOf(join(edgeQueue, DATA_FILE)));
    this.#add("MiB of the router's data.mdb", fileSizeOf(join(routerQueue, DATA_FILE)));
    for (const name of ['edge', 'router'] as const) {
      this.#add(`records that wait in the ${name}'s queue`, await this.#metric(name, 'holdfast_queue_records'));
    }
    if (Date.now() - this.#latencySinceMs >= this.#latencyMs) this.#takeLatencies();
  }

  /** One point for all that was timed since the last one: single latencies say more about faults than about growth. */
  #takeLatencies(): void {
    const sorted = this.#latencies.sort((a, b) => a - b);
    this.#latencies = [];
    this.#latencySinceMs = Date.now();
    if (sorted.length === 0) return;
    const at = (share: number): number => sorted[Math.floor(share * sorted.length)]!;
    this.#add('ms from a record to its ack, median', at(0.5));
    this.#add('ms from a record to its ack, 99 %', at(0.99));
  }

  /** A service that is away has no metrics: that is no sample. */
  #metric(service: PipelineService, name: string): Promise<number> {
    return this.pipeline.services[service].metric(name).catch(() => Number.NaN);
  }

  #add(name: string, value: number, reduction: Reduction = 'mean'): void {
    const series = this.#series.get(name) ?? new Series(name, reduction);
    this.#series.set(name, series);
    series.add(Date.now() - this.#startMs, value);
  }
}
