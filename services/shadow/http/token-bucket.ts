/** A token bucket: so many requests a second, and as many at once. */
export class TokenBucket {
  #tokens: number;
  #refilledMs: number;

  /**
   * @param rate tokens a second, and the most that are saved up
   * @param now a clock in ms that is never set back
   */
  constructor(
    private readonly rate: number,
    private readonly now: () => number = () => performance.now(),
  ) {
    this.#tokens = rate;
    this.#refilledMs = now();
  }

  /** Takes one. @returns false where there is none */
  draw(): boolean {
    const nowMs = this.now();
    this.#tokens = Math.min(this.rate, this.#tokens + ((nowMs - this.#refilledMs) / 1000) * this.rate);
    this.#refilledMs = nowMs;
    if (this.#tokens < 1) return false;
    this.#tokens--;
    return true;
  }
}
