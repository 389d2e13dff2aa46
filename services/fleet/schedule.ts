/**
 * When which device makes a record: all devices have one interval, and each a phase within it, so the order in which they are
 * due is the same in every interval. One pass through that order is all the work there is.
 *
 * Phases are spread by the golden ratio, which leaves no two of any number of devices close together.
 */

const GOLDEN = 0.618033988749895;

/** When device number `index` of a fleet starts, and when its first record is due, ms after the fleet's start. */
export function startOf(index: number, count: number, rampMs: number): number {
  return Math.floor((rampMs * index) / count);
}

/** @returns the first moment of the device's phase at or after its start, whole ms */
export function firstDue(index: number, count: number, rampMs: number, intervalMs: number): number {
  const phase = Math.floor(((index * GOLDEN) % 1) * intervalMs);
  const start = startOf(index, count, rampMs);
  return start + ((((phase - start) % intervalMs) + intervalMs) % intervalMs);
}

export class Schedule<T> {
  /** By phase. */
  readonly #order: readonly { readonly item: T; readonly firstMs: number }[];
  #next = 0;
  #roundMs = 0;

  /** @param items each with when it is due first, ms after the start */
  constructor(
    items: readonly { readonly item: T; readonly firstMs: number }[],
    private readonly intervalMs: number,
  ) {
    this.#order = [...items].sort((a, b) => (a.firstMs % intervalMs) - (b.firstMs % intervalMs));
  }

  /** Calls `produce` once for every record that is due since the last call. @param nowMs ms after the start */
  run(nowMs: number, produce: (item: T) => void): void {
    if (this.#order.length === 0) return;
    for (;;) {
      const { item, firstMs } = this.#order[this.#next]!;
      const dueMs = this.#roundMs + (firstMs % this.intervalMs);
      if (dueMs > nowMs) return;
      if (dueMs >= firstMs) produce(item);
      if (++this.#next < this.#order.length) continue;
      this.#next = 0;
      this.#roundMs += this.intervalMs;
    }
  }
}
