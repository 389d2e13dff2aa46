/** A real store whose writes a test sees, holds back, and lets fail as a store that is away does. */
import { HoldfastError } from '../../shared/errors.js';
import type { Position } from '../../shared/position.js';
import type { Change, ListedThing, Store } from '../../services/shadow/store.js';

export class WatchedStore implements Store {
  /** Changes that were written, in order. */
  readonly written: Change[] = [];
  /** Changes that were to be written, in order: one that failed comes again. */
  readonly tried: Change[] = [];
  unsafeMs = 0;
  isAway = false;
  #held: Promise<void> | undefined;
  #release: (() => void) | undefined;

  constructor(private readonly store: Store) {}

  get ready(): boolean {
    return this.store.ready && !this.isAway;
  }

  /** Holds every write back until release(). */
  hold(): void {
    this.#held = new Promise((resolve) => (this.#release = resolve));
  }

  release(): void {
    this.#held = undefined;
    this.#release?.();
  }

  async write(change: Change): Promise<void> {
    this.tried.push(change);
    await this.#held;
    this.#assertThere();
    await this.store.write(change);
    this.written.push(change);
  }

  open(): Promise<void> {
    return this.store.open();
  }

  position(queueId: string): Promise<Position> {
    return this.store.position(queueId);
  }

  async load(things: readonly string[]): Promise<(Buffer | undefined)[]> {
    this.#assertThere();
    return this.store.load(things);
  }

  list(after: string, limit: number): Promise<ListedThing[]> {
    return this.store.list(after, limit);
  }

  async loadCommands(ids: readonly string[]): Promise<(Buffer | undefined)[]> {
    this.#assertThere();
    return this.store.loadCommands(ids);
  }

  listCommands(thing: string, before: string, limit: number): Promise<string[]> {
    return this.store.listCommands(thing, before, limit);
  }

  dueCommands(nowMs: number, limit: number): Promise<string[]> {
    return this.store.dueCommands(nowMs, limit);
  }

  close(): Promise<void> {
    return this.store.close();
  }

  #assertThere(): void {
    if (this.isAway) throw new HoldfastError('store', 'the store is away, says the test', true);
  }
}
