/**
 * Latencies of many records in little memory: buckets whose bounds grow by 2 %, so that a percentile is off by 1 % at most.
 * A load in a closed loop sends and is acked by the write, not by the record: what is added is a number of records at once.
 */
const LEAST_MS = 0.01;
const GROWTH = 1.02;
const BUCKETS = 800;
const LOG_GROWTH = Math.log(GROWTH);

export class Latencies {
  readonly #records = new Float64Array(BUCKETS);
  #count = 0;

  /** Adds so many records with one latency. */
  add(latencyMs: number, records: number): void {
    const bucket = Math.round(Math.log(Math.max(latencyMs, LEAST_MS) / LEAST_MS) / LOG_GROWTH);
    this.#records[Math.min(bucket, BUCKETS - 1)]! += records;
    this.#count += records;
  }

  get count(): number {
    return this.#count;
  }

  clear(): void {
    this.#records.fill(0);
    this.#count = 0;
  }

  /**
   * The latency, in ms, that a share of the records did not exceed.
   * @throws RangeError where there are none
   */
  percentile(share: number): number {
    if (this.#count === 0) throw new RangeError('no latencies');
    let left = share * this.#count;
    for (let bucket = 0; bucket < BUCKETS; bucket++) {
      left -= this.#records[bucket]!;
      if (left <= 0) return LEAST_MS * GROWTH ** bucket;
    }
    return LEAST_MS * GROWTH ** (BUCKETS - 1);
  }
}
