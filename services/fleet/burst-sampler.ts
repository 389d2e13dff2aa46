/** Looks at fleet, edge, router and storage every half second of a burst: what its report is drawn from. */
import { messageOf } from '../../shared/errors.js';
import { Exposition } from '../../shared/exposition.js';
import type { PipelineAddresses } from './burst-pipeline.js';
import type { Fleet } from './fleet.js';
import { Histogram, type Counts } from './histogram.js';

/** One look. Counts go on from the start; undefined: the service did not answer in time. */
export interface BurstPoint {
  /** Since the fleet's start. */
  readonly seconds: number;
  readonly devices: number;
  readonly sent: number;
  readonly acked: number;
  /** Unacked records in the devices. */
  readonly buffered: number;
  readonly ackP50Ms: number | undefined;
  readonly ackP99Ms: number | undefined;
  readonly edgeQueue: number | undefined;
  readonly routerQueue: number | undefined;
  readonly stored: number | undefined;
  readonly edgeResidentBytes: number | undefined;
  readonly storedDuplicates: number | undefined;
}

export interface Window {
  readonly point: BurstPoint;
  readonly latencies: Counts;
}

const SAMPLE_MS = 500;
const SCRAPE_TIMEOUT_MS = 2_000;

export class BurstSampler {
  readonly windows: Window[] = [];
  /** Why services did not answer, once each. */
  readonly troubles = new Set<string>();
  /** What the edge has refused so far, by its reason. */
  refusals: Readonly<Record<string, number>> = {};
  readonly #latencies = new Histogram();
  readonly #timer: NodeJS.Timeout;
  #looking: Promise<void> | undefined;

  constructor(
    private readonly fleet: Fleet,
    private readonly addresses: PipelineAddresses,
  ) {
    fleet.on('sample', (latencies) => this.#latencies.merge(latencies));
    this.#timer = setInterval(() => {
      // A look that takes longer than its time is followed by the one after the next.
      this.#looking ??= this.#look().finally(() => (this.#looking = undefined));
    }, SAMPLE_MS);
  }

  get points(): readonly BurstPoint[] {
    return this.windows.map(({ point }) => point);
  }

  /** The latencies of the windows that begin at `fromSeconds` or later. */
  latenciesFrom(fromSeconds: number): Histogram {
    const all = new Histogram();
    this.windows.forEach(({ latencies }, index) => {
      const before = this.windows[index - 1];
      if (before !== undefined && before.point.seconds >= fromSeconds) all.merge(latencies);
    });
    return all;
  }

  async stop(): Promise<void> {
    clearInterval(this.#timer);
    await this.#looking;
  }

  async #look(): Promise<void> {
    const { counters, startMs } = this.fleet;
    const seconds = (Date.now() - startMs) / 1000;
    const ackP50Ms = this.#latencies.percentile(0.5);
    const ackP99Ms = this.#latencies.percentile(0.99);
    const latencies = this.#latencies.take();
    const { edgeAdmin, routerAdmin, storageAdmin } = this.addresses;
    const [edge, router, storage] = await Promise.all(
      [edgeAdmin, routerAdmin, storageAdmin].map((at) => this.#scrape(at)),
    );
    if (edge !== undefined) this.refusals = Object.fromEntries(edge.by('holdfast_rejected_total', 'reason'));
    const { up: devices, sent, acked, buffered } = counters;
    const point = {
      seconds,
      devices,
      sent,
      acked,
      buffered,
      ackP50Ms,
      ackP99Ms,
      edgeQueue: edge?.sum('holdfast_queue_records'),
      routerQueue: router?.sum('holdfast_queue_records'),
      stored: storage?.sum('holdfast_records_out_total'),
      edgeResidentBytes: edge?.sum('holdfast_process_resident_memory_bytes'),
      storedDuplicates: storage?.sum('holdfast_duplicates_total'),
    };
    this.windows.push({ point, latencies });
  }

  async #scrape(address: string): Promise<Exposition | undefined> {
    try {
      const response = await fetch(`http://${address}/metrics`, { signal: AbortSignal.timeout(SCRAPE_TIMEOUT_MS) });
      return new Exposition(await response.text());
    } catch (error) {
      this.troubles.add(`${address}: ${messageOf(error)}`);
      return undefined;
    }
  }
}
