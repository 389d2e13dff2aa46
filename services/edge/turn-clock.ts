/**
 * The time, read once a turn of the event loop: reading it for every record would cost a tenth of what a record costs. A
 * turn under full load takes about a millisecond, which is the resolution that `received` has anyway.
 */
export class TurnClock {
  #nowMs = 0;
  readonly #forget = (): void => {
    this.#nowMs = 0;
  };

  /** ms since 1970, the same for all that arrives in this turn. */
  now(): number {
    if (this.#nowMs === 0) {
      this.#nowMs = Date.now();
      setImmediate(this.#forget);
    }
    return this.#nowMs;
  }
}
