/**
 * Shadow's store and its things in memory, for tests of what stands on them: changes are steps, are durable a moment later
 * or when the test says so, and a crash loses what was not. Of a thing only its pending commands outlive a crash.
 */
import { setImmediate as turn } from 'node:timers/promises';
import { HoldfastError } from '../../shared/errors.js';
import { START, type Position } from '../../shared/position.js';
import type { Change, CommandWrite, ListedThing, Store, ThingEntry } from '../../services/shadow/store.js';
import { Thing } from '../../services/shadow/thing.js';
import type { PutCommand, ThingsApi } from '../../services/shadow/things-api.js';

interface Stored {
  readonly pending: readonly string[];
  readonly entry: ThingEntry;
}

export class MemoryStore implements Store {
  ready = true;
  readonly unsafeMs = 0;
  readonly stored = new Map<string, Stored>();
  readonly commands = new Map<string, CommandWrite>();
  /** The most that was asked for at once. */
  largestStep = 0;
  /** Turns of the event loop that a read takes. */
  readTurns = 1;

  open(): Promise<void> {
    return Promise.resolve();
  }

  position(): Promise<Position> {
    return Promise.resolve(START);
  }

  load(): Promise<(Buffer | undefined)[]> {
    throw new Error('things are read by MemoryThings');
  }

  write({ commands }: Change): Promise<void> {
    for (const command of commands) {
      if (command.value === undefined) this.commands.delete(command.id);
      else this.commands.set(command.id, command);
    }
    return Promise.resolve();
  }

  async list(after: string, limit: number): Promise<ListedThing[]> {
    await this.asked(limit);
    const ids = [...this.stored.keys()].filter((id) => id > after).sort();
    return ids.slice(0, limit).map((thing) => ({ thing, entry: this.stored.get(thing)!.entry }));
  }

  async loadCommands(ids: readonly string[]): Promise<(Buffer | undefined)[]> {
    await this.asked(ids.length);
    return ids.map((id) => this.commands.get(id)?.value);
  }

  async listCommands(thing: string, before: string, limit: number): Promise<string[]> {
    await this.asked(limit);
    const ids = [...this.commands.values()].filter((command) => command.thing === thing).map(({ id }) => id);
    const older = ids.filter((id) => before === '' || id < before).sort();
    return older.reverse().slice(0, limit);
  }

  async dueCommands(nowMs: number, limit: number): Promise<string[]> {
    await this.asked(limit);
    const due = [...this.commands.values()].filter(({ dueMs }) => dueMs <= nowMs);
    return due
      .sort((a, b) => a.dueMs - b.dueMs)
      .slice(0, limit)
      .map(({ id }) => id);
  }

  close(): Promise<void> {
    return Promise.resolve();
  }

  /** What every question begins with. @throws HoldfastError store */
  async asked(size: number): Promise<void> {
    this.largestStep = Math.max(this.largestStep, size);
    for (let count = 0; count < this.readTurns; count++) await turn();
    if (!this.ready) throw new HoldfastError('store', 'the store is away', true);
  }
}

export class MemoryThings implements ThingsApi {
  /** False: what changes is durable only when flush() is called. */
  flushesItself = true;
  readonly #things = new Map<string, Thing>();
  readonly #commands = new Map<string, Buffer | undefined>();
  readonly #listeners: ((thing: Thing) => void)[] = [];
  #changed = new Set<Thing>();
  #puts: CommandWrite[] = [];
  #waiters: { readonly resolve: () => void; readonly reject: (error: Error) => void }[] = [];
  #flushing = false;

  /** With what a store holds: after a crash, that of before. */
  constructor(readonly store: MemoryStore) {
    for (const [id, { pending }] of store.stored) {
      const thing = new Thing(id);
      thing.applyPresence(true, 0, undefined);
      thing.setPending(pending);
      this.#things.set(id, thing);
    }
    for (const [id, { value }] of store.commands) this.#commands.set(id, value);
  }

  /** A thing that is there, at once and durably. */
  know(id: string, entry: Partial<ThingEntry> = {}): Thing {
    const thing = this.peek(id);
    thing.applyPresence(true, 0, undefined);
    this.store.stored.set(id, { pending: [], entry: { connected: true, type: null, site: null, ...entry } });
    return thing;
  }

  peek(id: string): Thing {
    const thing = this.#things.get(id) ?? new Thing(id);
    this.#things.set(id, thing);
    return thing;
  }

  peekCommand(id: string): Buffer | undefined {
    return this.#commands.get(id);
  }

  async get(ids: readonly string[]): Promise<Thing[]> {
    await this.store.asked(ids.length);
    return ids.map((id) => this.peek(id));
  }

  async commands(ids: readonly string[]): Promise<(Buffer | undefined)[]> {
    await this.store.asked(ids.length);
    return ids.map((id) => this.#commands.get(id));
  }

  async change<T>(
    ids: readonly string[],
    commandIds: readonly string[],
    work: (things: readonly Thing[], commands: readonly (Buffer | undefined)[], put: PutCommand) => T,
  ): Promise<T> {
    await this.store.asked(Math.max(ids.length, commandIds.length));
    if (new Set(ids).size !== ids.length) throw new Error('a thing is named twice');
    const { result, durable } = this.step(ids, commandIds, work);
    await durable;
    return result;
  }

  /** A step at once, as the engine makes one of records. */
  step<T>(
    ids: readonly string[],
    commandIds: readonly string[],
    work: (things: readonly Thing[], commands: readonly (Buffer | undefined)[], put: PutCommand) => T,
  ): { result: T; durable: Promise<void> } {
    const things = ids.map((id) => this.peek(id));
    const revisions = things.map(({ revision }) => revision);
    const puts: CommandWrite[] = [];
    const result = work(
      things,
      commandIds.map((id) => this.#commands.get(id)),
      (command) => puts.push(command),
    );
    for (const command of puts) this.#commands.set(command.id, command.value);
    this.#puts.push(...puts);
    const changed = things.filter(({ revision }, index) => revision !== revisions[index]);
    for (const thing of changed) this.#changed.add(thing);
    if (changed.length === 0 && puts.length === 0) return { result, durable: Promise.resolve() };
    const durable = new Promise<void>((resolve, reject) => this.#waiters.push({ resolve, reject }));
    if (this.flushesItself) void this.#flushSoon();
    return { result, durable };
  }

  onWritten(listener: (thing: Thing) => void): void {
    this.#listeners.push(listener);
  }

  /** Makes durable what has changed, and says so. */
  flush(): void {
    const [changed, puts, waiters] = [this.#changed, this.#puts, this.#waiters];
    [this.#changed, this.#puts, this.#waiters] = [new Set(), [], []];
    for (const thing of changed) {
      const entry = this.store.stored.get(thing.id)?.entry ?? { connected: false, type: null, site: null };
      this.store.stored.set(thing.id, { pending: thing.pending, entry });
    }
    void this.store.write({ applied: undefined, things: [], commands: puts });
    for (const thing of changed) for (const listener of this.#listeners) listener(thing);
    // Some time later: the order is not promised, and this is the harder one.
    setImmediate(() => {
      for (const { resolve } of waiters) resolve();
    });
  }

  /** The store goes away in the middle of a write: those who wait hear of it, and what has changed is kept. */
  interrupt(): void {
    const waiters = this.#waiters;
    this.#waiters = [];
    for (const { reject } of waiters) reject(new HoldfastError('store', 'the store went away', true));
  }

  async #flushSoon(): Promise<void> {
    if (this.#flushing) return;
    this.#flushing = true;
    await turn();
    this.#flushing = false;
    if (this.flushesItself) this.flush();
  }
}
