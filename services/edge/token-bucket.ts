/**
 * A token bucket: so many a second, and so many at once after a quiet time. Who finds none is told a turn, one after
 * the other at the bucket's rate: a storm then comes back as fast as it can be served, and not in waves that are refused again.
 */

/** No turn is later: among those who were told one are some who do not come. */
const MAX_TURN_MS = 60_000;

export class TokenBucket {
  #tokens: number;
  #refilledMs = Date.now();
  /** The last turn that was given. */
  #turnMs = 0;

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

  /** Gives a turn to somebody who found no token. @returns ms from now */
  turn(): number {
    const nowMs = Date.now();
    this.#turnMs = Math.min(Math.max(this.#turnMs, nowMs) + 1000 / this.rate, nowMs + MAX_TURN_MS);
    return this.#turnMs - nowMs;
  }
}
