/**
 * A queue in memory: in at the end, out at the front in groups, and O(1) for each. (`shift` of an array moves the whole
 * array once it is long, and a million devices may wait here.)
 */
const COMPACT_AT = 1_024;

export class Backlog<T> {
  #items: T[] = [];
  #head = 0;

  get size(): number {
    return this.#items.length - this.#head;
  }

  push(item: T): void {
    this.#items.push(item);
  }

  /** Takes out what comes first. */
  shift(): T | undefined {
    const item = this.#items[this.#head];
    if (this.#head === this.#items.length) return undefined;
    this.#head++;
    if (this.#head === this.#items.length || (this.#head >= COMPACT_AT && this.#head * 2 > this.#items.length)) {
      this.#items = this.#items.slice(this.#head);
      this.#head = 0;
    }
    return item;
  }
}
