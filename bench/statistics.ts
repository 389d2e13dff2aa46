/** What a bench says about many measurements: the median, how far they lie apart, and percentiles. */

/** A few repetitions of one measurement. */
export interface Summary {
  readonly median: number;
  readonly least: number;
  readonly greatest: number;
  /** (greatest - least) / median: how much one repetition can be trusted. */
  readonly spread: number;
}

/**
 * The median, extremes and spread of repetitions.
 * @throws RangeError where there are none, or one is not a finite number
 */
export function summarize(values: readonly number[]): Summary {
  if (values.length === 0) throw new RangeError('nothing was measured');
  if (!values.every(Number.isFinite)) throw new RangeError(`not a measurement: ${values.join(', ')}`);
  const sorted = Float64Array.from(values).sort();
  const middle = sorted.length >> 1;
  const median = sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
  const least = sorted[0]!;
  const greatest = sorted[sorted.length - 1]!;
  return { median, least, greatest, spread: median === 0 ? 0 : (greatest - least) / median };
}

/** The median alone. */
export function median(values: readonly number[]): number {
  return summarize(values).median;
}

/**
 * The nearest-rank percentile: the least sample that at least `share` of all samples do not exceed.
 * @param sorted ascending, not empty
 * @param share 0 < share ≤ 1: 0.99 is p99
 */
export function percentile(sorted: Float64Array, share: number): number {
  if (sorted.length === 0) throw new RangeError('no samples');
  if (!(share > 0 && share <= 1)) throw new RangeError(`${share} is not a share of the samples`);
  return sorted[Math.ceil(share * sorted.length) - 1]!;
}

/** Samples of a known greatest number, kept as they are: percentiles need no buckets at these sizes. */
export class Samples {
  readonly #values: Float64Array;
  #length = 0;

  /** @param capacity the most samples it keeps */
  constructor(capacity: number) {
    this.#values = new Float64Array(capacity);
  }

  get length(): number {
    return this.#length;
  }

  /** @throws RangeError over its capacity: a percentile of a part of the samples would be a wrong one */
  add(value: number): void {
    if (this.#length === this.#values.length) throw new RangeError(`more than ${this.#length} samples`);
    this.#values[this.#length++] = value;
  }

  /** The samples so far, ascending, in memory of their own. */
  sorted(): Float64Array {
    return this.#values.slice(0, this.#length).sort();
  }
}
