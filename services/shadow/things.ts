/**
 * The things of shadow in memory: the one place where they change, in synchronous steps.
 *
 *   records (apply.ts), requests (shadows.ts) and commands (commands.ts) change things in memory
 *   what has changed is a group (group.ts), which is written into the store together with the position in the router's
 *   queue up to which records are applied (flush.ts)
 *
 * A thing that sends ten times in a group is written once. Reads see what is in memory; a crash takes both back to the last
 * write, and the router brings the records again.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { HoldfastError } from '../../shared/errors.js';
import type { Part } from '../../shared/lifecycle.js';
import type { Logger } from '../../shared/log.js';
import type { Registry } from '../../shared/metrics.js';
import type { Position } from '../../shared/position.js';
import { decodeThing } from './codec.js';
import { Flush } from './flush.js';
import type { Group } from './group.js';
import { Hot, type Slot } from './hot.js';
import type { CommandWrite, Store } from './store.js';
import type { ReportRows } from './report-rows.js';
import { Thing } from './thing.js';
import { ThingsMetrics } from './things-metrics.js';
import type { PutCommand, ThingsApi } from './things-api.js';

export interface ThingsOptions {
  readonly store: Store;
  /** Things that are kept in memory; half as many may wait to be written. */
  readonly hotThings: number;
  readonly flushMs: number;
  readonly registry: Registry;
  readonly log: Logger;
  /** Called with what is in the store for good: the router may forget it. */
  readonly onApplied: (queueId: string, through: Position) => void;
  /** Called once, when nothing can be written any more: the process must end. */
  readonly onFailure: (error: unknown) => void;
}

/** A command's value as it is now; undefined: there is none. */
export interface CommandValue {
  readonly value: Buffer | undefined;
}

/** Things and commands that are in memory, of which the next step may be made up. */
export type InMemory = readonly [things: Thing[], commands: (Buffer | undefined)[]];

const HOT_COMMANDS = 100_000;
const STOP_GRACE_MS = 5_000;

export class Things implements ThingsApi, Part {
  readonly name = 'things';
  readonly metrics: ThingsMetrics;
  readonly #things: Hot<Thing>;
  readonly #commands: Hot<CommandValue>;
  readonly #flush: Flush;
  readonly #listeners: ((thing: Thing) => void)[] = [];
  readonly #storedListeners: ((ids: Iterable<string>) => void)[] = [];
  #running: Promise<void> | undefined;
  #stopped = false;

  constructor(private readonly options: ThingsOptions) {
    const { store, hotThings, registry } = options;
    this.#things = new Hot(hotThings, (ids) => this.#loadThings(ids));
    this.#commands = new Hot(HOT_COMMANDS, async (ids) => (await store.loadCommands(ids)).map((value) => ({ value })));
    const gauges = { hot: () => this.#things.size, unwritten: () => this.#things.pinned };
    this.metrics = new ThingsMetrics(registry, gauges);
    this.#flush = new Flush({
      ...options,
      maxThings: hotThings / 2,
      metrics: this.metrics,
      onWritten: (group) => this.#written(group),
    });
  }

  start(): Promise<void> {
    this.#running = this.#flush.run().catch((error: unknown) => this.#fail(error));
    return Promise.resolve();
  }

  /** Writes what has changed, if that takes less than 5 s; what is not acked to the router comes again. */
  async stop(): Promise<void> {
    this.#stopped = true;
    this.#flush.stop();
    const abort = new AbortController();
    const grace = sleep(STOP_GRACE_MS, undefined, { signal: abort.signal }).catch(() => undefined);
    await Promise.race([this.#running, grace]);
    abort.abort();
    this.#flush.close();
  }

  /**
   * The position after which records of a router's queue are to be applied.
   * @throws HoldfastError store (retry) while the store is away, or where the router has another queue than before: then
   *   shadow ends, and starts again with that one
   */
  async resume(queueId: string): Promise<Position> {
    const before = this.#flush.queueId;
    if (before !== '' && before !== queueId) {
      const message = `the router has the queue ${queueId}, and had ${before} before; shadow starts again with it`;
      const error = new HoldfastError('store', message, true);
      this.#fail(error);
      throw error;
    }
    const position = await this.options.store.position(queueId);
    this.#flush.resume(queueId, position);
    return position;
  }

  async get(ids: readonly string[]): Promise<Thing[]> {
    for (;;) {
      await this.#things.fill(ids);
      const things = ids.map((id) => this.#things.peek(id));
      if (things.every((thing) => thing !== undefined)) return things;
    }
  }

  async commands(ids: readonly string[]): Promise<(Buffer | undefined)[]> {
    for (;;) {
      await this.#commands.fill(ids);
      const commands = ids.map((id) => this.#commands.peek(id));
      if (commands.every((command) => command !== undefined)) return commands.map(({ value }) => value);
    }
  }

  async change<T>(
    ids: readonly string[],
    commandIds: readonly string[],
    work: (things: readonly Thing[], commands: readonly (Buffer | undefined)[], put: PutCommand) => T,
  ): Promise<T> {
    if (this.#stopped) throw new HoldfastError('store', 'shadow is stopping', true);
    if (!this.options.store.ready) throw new HoldfastError('store', 'the store is away', true);
    const [things, commands] = await this.inMemory(ids, commandIds);
    const revisions = things.map(({ revision }) => revision);
    const puts: CommandWrite[] = [];
    const result = work(things, commands, (command) => puts.push(command));
    for (const command of puts) this.put(command);
    const changed = things.filter(({ revision }, index) => revision !== revisions[index]);
    for (const { id } of changed) this.touch(this.#things.find(id)!, true);
    if (changed.length > 0 || puts.length > 0) await this.#flush.written();
    return result;
  }

  onWritten(listener: (thing: Thing) => void): void {
    this.#listeners.push(listener);
  }

  /** Calls back with the ids of all things of a write, once it is durable. */
  onStored(listener: (ids: Iterable<string>) => void): void {
    this.#storedListeners.push(listener);
  }

  /** How many things are in memory, about. */
  get hot(): number {
    return this.#things.size;
  }

  /**
   * Brings things and commands into memory and waits until a step may be taken: what the caller then does without
   * awaiting anything is one.
   * @throws HoldfastError store (retry) while the store is away
   */
  async inMemory(ids: readonly string[], commandIds: readonly string[]): Promise<InMemory> {
    for (;;) {
      await this.#things.fill(ids);
      await this.#commands.fill(commandIds);
      await this.#flush.whileEncoding();
      const things = ids.map((id) => this.#things.peek(id));
      const commands = commandIds.map((id) => this.#commands.peek(id));
      // Something else may have pushed them out meanwhile, or the next group is being encoded.
      if (this.#flush.isEncoding || !things.every((thing) => thing !== undefined)) continue;
      if (commands.every((command) => command !== undefined)) return [things, commands.map(({ value }) => value)];
    }
  }

  /** The slot of a thing, where it is in memory. */
  find(id: string): Slot<Thing> | undefined {
    return this.#things.find(id);
  }

  /** What was reported since the last write began; their things are in memory. */
  get rows(): ReportRows {
    return this.#flush.rows;
  }

  /** A command, where it is in memory. */
  peekCommand(id: string): CommandValue | undefined {
    return this.#commands.peek(id);
  }

  /** True while no step may be taken. */
  get isEncoding(): boolean {
    return this.#flush.isEncoding;
  }

  /**
   * Notes, in a step, that a thing has changed.
   * @param documents whether its documents or pending commands have
   */
  touch(slot: Slot<Thing>, documents: boolean): void {
    const { group } = this.#flush;
    if (slot.group !== group.number) {
      slot.group = group.number;
      group.things.push(slot);
      this.#things.pin(slot);
      this.#flush.soon();
    }
    if (!documents || slot.changedIn === group.number) return;
    slot.changedIn = group.number;
    group.changed.push(slot);
  }

  /** Keeps, in a step, a command's new value. */
  put(command: CommandWrite): void {
    const { group } = this.#flush;
    const slot = this.#commands.put(command.id, { value: command.value });
    if (!group.commands.has(command.id)) this.#commands.pin(slot);
    group.commands.set(command.id, command);
    this.#flush.soon();
  }

  /**
   * Notes, in a step, that records are applied up to a position.
   * @param bytes of the batches that things may refer to
   * @param oldestMs when the oldest of the records came to an edge, ms since 1970
   */
  applied(through: Position, bytes: number, oldestMs: number): void {
    const { group } = this.#flush;
    group.through = through;
    group.bytes += bytes;
    group.oldestMs = Math.min(group.oldestMs, oldestMs);
    this.#flush.soon();
  }

  /** Says whether more records wait to be applied: then what has changed may wait longer, to be written once. */
  setBehind(isBehind: boolean): void {
    this.#flush.setBehind(isBehind);
  }

  /** Waits while too much waits to be written already. */
  room(): Promise<void> {
    return this.#flush.room();
  }

  async #loadThings(ids: readonly string[]): Promise<Thing[]> {
    const values = await this.options.store.load(ids);
    return ids.map((id, index) => {
      const value = values[index];
      return value === undefined ? new Thing(id) : decodeThing(id, value);
    });
  }

  #written(group: Group): void {
    for (const slot of group.things) this.#things.unpin(slot);
    for (const id of group.commands.keys()) this.#commands.unpin(this.#commands.find(id)!);
    for (const listener of this.#storedListeners) listener(group.things.map(({ id }) => id));
    for (const { value, changedIn } of group.changed) {
      // What has changed again since is told when that is durable too.
      if (changedIn === group.number) for (const listener of this.#listeners) listener(value);
    }
  }

  #fail(error: unknown): void {
    if (this.#stopped) return;
    this.#stopped = true;
    for (const { reject } of this.#flush.group.waiters) reject(error);
    this.options.onFailure(error);
  }
}
