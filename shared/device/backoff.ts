/**
 * How long a device waits before it connects again: full jitter, a random time up to a bound that doubles with every failure,
 * so that a fleet that lost its edge at one moment does not come back at one moment.
 */
export class Backoff {
  #failures = 0;

  constructor(
    private readonly minMs: number,
    private readonly maxMs: number,
  ) {}

  /** The next attempt may be made as soon as the first. */
  reset(): void {
    this.#failures = 0;
  }

  /** Takes note of a failure and returns how long to wait, ms. */
  next(): number {
    const bound = Math.min(this.maxMs, this.minMs * 2 ** this.#failures);
    if (bound < this.maxMs) this.#failures++;
    return Math.random() * bound;
  }
}
