/**
 * What shadow holds in memory of its store: one slot an id, however many ask for it at once.
 *
 * An id is looked up once for each record, and everything else about it is in its slot, because with 100,000 things each
 * lookup and each list that is kept up to date costs more than parsing the record does (memory that no cache holds).
 *
 * Bounded: slots that were not used lately go first, by a clock: a hand goes round over the slots, takes away the mark of
 * those that were used since it was there, and removes the first that has none. A use is then one write into the slot. What
 * is pinned stays, because it has changed and the store does not have the change yet.
 *
 * An id is loaded by one load at a time, and what was loaded is taken only where the id is still not there: otherwise a
 * value that was read before a write could take the place of what was written.
 */

/** The place of an id in memory. It is the id's only one while it is pinned, or until the next turn of the event loop. */
export interface Slot<T> {
  readonly id: string;
  /** Counts slots in the order in which they came into memory. */
  readonly number: number;
  value: T;
  /** Groups that still have to write it. */
  pins: number;
  /** Used since the clock's hand was here. */
  isUsed: boolean;
  /** Numbers of the last group that holds it, and of the last in which its documents changed; 0 for none (group.ts). */
  group: number;
  changedIn: number;
}

export class Hot<T extends object> {
  readonly #slots = new Map<string, Slot<T>>();
  readonly #loading = new Map<string, Promise<unknown>>();
  #hand = this.#slots.values();
  #pinned = 0;
  #made = 0;

  /**
   * @param max how many are kept beside those that are pinned
   * @param load the values of ids, in their order; it makes one for an id that is not in the store
   */
  constructor(
    private readonly max: number,
    private readonly load: (ids: readonly string[]) => Promise<readonly T[]>,
  ) {}

  /** How many are in memory. */
  get size(): number {
    return this.#slots.size;
  }

  get pinned(): number {
    return this.#pinned;
  }

  /** The slot, where the id is in memory. */
  find(id: string): Slot<T> | undefined {
    const slot = this.#slots.get(id);
    if (slot !== undefined) slot.isUsed = true;
    return slot;
  }

  /** The value, where it is in memory. */
  peek(id: string): T | undefined {
    return this.find(id)?.value;
  }

  /** Brings ids into memory. They are there when it resolves, and may go again with the next turn of the event loop. */
  async fill(ids: Iterable<string>): Promise<void> {
    const missing: string[] = [];
    const waiting = new Set<Promise<unknown>>();
    for (const id of new Set(ids)) {
      if (this.find(id) !== undefined) continue;
      const loading = this.#loading.get(id);
      if (loading === undefined) missing.push(id);
      else waiting.add(loading);
    }
    if (missing.length > 0) waiting.add(this.#load(missing));
    await Promise.all(waiting);
  }

  /** Takes a new value for an id, whether or not it is in memory. To be pinned in the same step. */
  put(id: string, value: T): Slot<T> {
    const slot = this.find(id);
    if (slot === undefined) return this.#add(id, value);
    slot.value = value;
    return slot;
  }

  /** Keeps a slot in memory until it is unpinned as often as it was pinned. */
  pin(slot: Slot<T>): void {
    if (slot.pins++ === 0) this.#pinned++;
  }

  unpin(slot: Slot<T>): void {
    if (slot.pins === 0) throw new Error(`${slot.id} is not pinned`);
    if (--slot.pins > 0) return;
    this.#pinned--;
    slot.isUsed = true;
    this.#evict(this.max);
  }

  async #load(ids: readonly string[]): Promise<void> {
    const load = this.load(ids).then((values) => {
      ids.forEach((id, index) => {
        if (this.find(id) === undefined) this.#add(id, values[index]!);
      });
    });
    const settled = load.finally(() => {
      for (const id of ids) this.#loading.delete(id);
    });
    for (const id of ids) this.#loading.set(id, settled);
    await settled;
  }

  #add(id: string, value: T): Slot<T> {
    // Room is made before it is there, so that it cannot be what has to go.
    this.#evict(this.max - 1);
    const slot = { id, number: ++this.#made, value, pins: 0, isUsed: true, group: 0, changedIn: 0 };
    this.#slots.set(id, slot);
    return slot;
  }

  #evict(most: number): void {
    while (this.#slots.size - this.#pinned > most) {
      const { value: slot } = this.#hand.next();
      if (slot === undefined) this.#hand = this.#slots.values();
      else if (slot.isUsed) slot.isUsed = false;
      else if (slot.pins === 0) this.#slots.delete(slot.id);
    }
  }
}
