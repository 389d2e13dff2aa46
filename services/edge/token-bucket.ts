/** A token bucket: so many a second, and so many at once after a quiet time. */
export class TokenBucket {
  #tokens: number;
  #refilledMs = Date.now();

  constructor(
    private readonly rate: number,
    private readonly burst: number,
  ) {
    this.#tokens = burst;
  }

  /** Takes one. @returns false where there is none */
  draw(): boolean {
    const nowMs = Date.now();
    // A clock that was set back must not empty the bucket for as long as it was set back.
    const elapsedMs = Math.max(0, nowMs - this.#refilledMs);
    this.#tokens = Math.min(this.burst, this.#tokens + (elapsedMs / 1000) * this.rate);
    this.#refilledMs = nowMs;
    if (this.#tokens < 1) return false;
    this.#tokens--;
    return true;
  }
}
