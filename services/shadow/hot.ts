/**
 * What shadow holds in memory of its store: one instance an id, however many ask for it at once.
 *
 * Bounded: what was used least recently goes first, unless it is pinned, because it has changed and the store does not have
 * the change yet. An id is loaded by one load at a time, and what was loaded is taken only where the id is still not there:
 * otherwise a value that was read before a write could take the place of what was written.
 */
import { LRUCache } from 'lru-cache';

interface Pinned<T> {
  value: T;
  count: number;
}

export class Hot<T extends object> {
  readonly #recent: LRUCache<string, T>;
  readonly #pinned = new Map<string, Pinned<T>>();
  readonly #loading = new Map<string, Promise<unknown>>();

  /**
   * @param max how many are kept beside those that are pinned
   * @param load the values of ids, in their order; it makes one for an id that is not in the store
   */
  constructor(
    max: number,
    private readonly load: (ids: readonly string[]) => Promise<readonly T[]>,
  ) {
    this.#recent = new LRUCache({ max });
  }

  /** How many are in memory, about. */
  get size(): number {
    return this.#recent.size;
  }

  get pinned(): number {
    return this.#pinned.size;
  }

  /** The value, where it is in memory. */
  peek(id: string): T | undefined {
    return this.#recent.get(id) ?? this.#pinned.get(id)?.value;
  }

  /** Brings ids into memory. They are there when it resolves, and may go again with the next turn of the event loop. */
  async fill(ids: Iterable<string>): Promise<void> {
    const missing: string[] = [];
    const waiting = new Set<Promise<unknown>>();
    for (const id of new Set(ids)) {
      if (this.peek(id) !== undefined) continue;
      const loading = this.#loading.get(id);
      if (loading === undefined) missing.push(id);
      else waiting.add(loading);
    }
    if (missing.length > 0) waiting.add(this.#load(missing));
    await Promise.all(waiting);
  }

  /** Takes a new value for an id that is pinned. */
  replace(id: string, value: T): void {
    const pinned = this.#pinned.get(id);
    if (pinned === undefined) throw new Error(`${id} is not pinned`);
    pinned.value = value;
    this.#recent.set(id, value);
  }

  /** Keeps a value in memory until it is unpinned as often as it was pinned. */
  pin(id: string, value: T): void {
    const pinned = this.#pinned.get(id);
    if (pinned === undefined) this.#pinned.set(id, { value, count: 1 });
    else pinned.count++;
  }

  unpin(id: string): void {
    const pinned = this.#pinned.get(id);
    if (pinned === undefined) throw new Error(`${id} is not pinned`);
    if (--pinned.count > 0) return;
    this.#pinned.delete(id);
    this.#recent.set(id, pinned.value);
  }

  async #load(ids: readonly string[]): Promise<void> {
    const load = this.load(ids).then((values) => {
      ids.forEach((id, index) => {
        if (this.peek(id) === undefined) this.#recent.set(id, values[index]!);
      });
    });
    const settled = load.finally(() => {
      for (const id of ids) this.#loading.delete(id);
    });
    for (const id of ids) this.#loading.set(id, settled);
    await settled;
  }
}
