/**
 * How groups come into the store: one write at a time, while the next group forms.
 *
 * A group is written when its oldest change is `flushMs` old, at once where somebody waits for it or it is large. While more
 * records wait to be applied it may become five times as old: a thing is written once for all that it says meanwhile, so a
 * shadow that is behind spends its time on catching up and not on writing the same things again. Encoding a
 * large one takes several turns of the event loop; the gate keeps steps out meanwhile, or else a thing that is encoded late
 * would hold records behind the group's position, which would be applied twice after a crash.
 *
 * While the store is away the write is tried again and again, and the group behind it grows until it is large; then records
 * wait in the router. Records are acked to the router when the store cannot lose them any more (Store.unsafeMs).
 */
import { setImmediate as nextTurn, setTimeout as sleep } from 'node:timers/promises';
import { HoldfastError, messageOf } from '../../shared/errors.js';
import type { Logger } from '../../shared/log.js';
import { START, type Position } from '../../shared/position.js';
import { Signal } from '../../shared/signal.js';
import { StateLog } from '../../shared/state-log.js';
import { encodeThing } from './codec.js';
import { Group } from './group.js';
import { ReportRows } from './report-rows.js';
import type { Change, Store, ThingWrite } from './store.js';
import type { ThingsMetrics } from './things-metrics.js';
import { ValueWriter } from './value-writer.js';

export interface FlushOptions {
  readonly store: Store;
  readonly flushMs: number;
  /** A group with more things takes no more records: so many are written once however much they say. */
  readonly maxThings: number;
  readonly log: Logger;
  readonly metrics: ThingsMetrics;
  /** Called with every group that is written, before those who wait for it are told. */
  readonly onWritten: (group: Group) => void;
  /** Called with what is in the store for good: the router may forget it. */
  readonly onApplied: (queueId: string, through: Position) => void;
}

/** Batches that the things of a group may refer to. */
const MAX_GROUP_BYTES = 64 * 1024 * 1024;
/** How many times as old a group may become while records wait. */
const AGE_WHILE_BEHIND = 5;
const ENCODED_A_TURN = 2_000;
const MIN_RETRY_MS = 100;
const MAX_RETRY_MS = 2_000;
const ROOM_CHECK_MS = 1_000;

export class Flush {
  readonly #acks = new Set<NodeJS.Timeout>();
  readonly #state: StateLog;
  readonly #wake = new Signal();
  readonly #taken = new Signal();
  /** Values of the group that is being written. */
  readonly #values = new ValueWriter(true);
  /** What the things of the group that is forming have reported. */
  readonly rows = new ReportRows();
  #group = new Group();
  /** Settles when the group that is being written is encoded; undefined: steps may be taken. */
  #gate: Promise<void> | undefined;
  #queueId = '';
  /** The position that is in the store. */
  #stored = START;
  #due = false;
  #timer: NodeJS.Timeout | undefined;
  /** Whether more records wait to be applied. */
  #isBehind = false;
  /** Whether the group is flushMs old. */
  #isOld = false;
  #stopped = false;

  constructor(private readonly options: FlushOptions) {
    this.#state = new StateLog(options.log, 'writing');
  }

  /** The group that is forming. */
  get group(): Group {
    return this.#group;
  }

  get queueId(): string {
    return this.#queueId;
  }

  /** Says which queue the positions belong to, and which of them is in the store. */
  resume(queueId: string, stored: Position): void {
    this.#queueId = queueId;
    this.#stored = stored;
  }

  /** Writes group after group until it is stopped. @throws HoldfastError when nothing can be written any more */
  async run(): Promise<void> {
    while (!this.#stopped || !this.#group.isEmpty) {
      if (!this.#due && !this.#stopped) await this.#wake.wait(this.options.flushMs);
      if (!this.#due && !this.#stopped) continue;
      // What else this turn of the event loop asks for comes along.
      await nextTurn();
      if (!(await this.#flush())) return;
    }
  }

  /** Lets run() end once what has changed is written, or with the first try that fails. */
  stop(): void {
    this.#stopped = true;
    this.#wake.fire();
    this.#taken.fire();
  }

  /** Forgets what it still meant to ack: it comes again. */
  close(): void {
    clearTimeout(this.#timer);
    for (const ack of this.#acks) clearTimeout(ack);
  }

  /** Has the group written within flushMs, or five times that while records wait. */
  soon(): void {
    this.#timer ??= setTimeout(() => this.#age(), this.options.flushMs);
  }

  /** Says whether more records wait to be applied. */
  setBehind(isBehind: boolean): void {
    this.#isBehind = isBehind;
    if (!isBehind && this.#isOld) this.now();
  }

  /** Has the group written as soon as the one before is. */
  now(): void {
    this.#due = true;
    this.#wake.fire();
  }

  /** Resolves when the group that is forming is durable. @throws HoldfastError store (retry) where the store goes away */
  written(): Promise<void> {
    this.now();
    return new Promise((resolve, reject) => this.#group.waiters.push({ resolve, reject }));
  }

  /** True while no step may be taken. */
  get isEncoding(): boolean {
    return this.#gate !== undefined;
  }

  /** Waits until a step may be taken. To be asked again where anything else was awaited since. */
  async whileEncoding(): Promise<void> {
    while (this.#gate !== undefined) await this.#gate;
  }

  /** Waits while the group that is forming is large. */
  async room(): Promise<void> {
    while (this.#isLarge && !this.#stopped) {
      this.now();
      await this.#taken.wait(ROOM_CHECK_MS);
    }
  }

  #age(): void {
    this.#isOld = true;
    if (!this.#isBehind) this.now();
    else this.#timer = setTimeout(() => this.now(), (AGE_WHILE_BEHIND - 1) * this.options.flushMs);
  }

  get #isLarge(): boolean {
    return this.#group.things.length > this.options.maxThings || this.#group.bytes >= MAX_GROUP_BYTES;
  }

  /** @returns false where it was stopped before the group was written */
  async #flush(): Promise<boolean> {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#isOld = false;
    this.#due = false;
    const group = this.#group;
    if (group.isEmpty) return true;
    this.#group = new Group();
    this.#taken.fire();
    const stopTimer = this.options.metrics.flushSeconds.startTimer();
    const change = await this.#encode(group);
    if (!(await this.#write(change, group))) return false;
    stopTimer();
    this.#settle(group);
    return true;
  }

  async #encode(group: Group): Promise<Change> {
    let open = (): void => undefined;
    this.#gate = new Promise((resolve) => (open = resolve));
    try {
      const things: ThingWrite[] = [];
      // The write before this one has ended.
      this.#values.reuse();
      for (const { value: thing } of group.inOrder()) {
        things.push({ thing: thing.id, value: encodeThing(thing, this.#values), entry: thing.entry() });
        if (things.length % ENCODED_A_TURN === 0) await nextTurn();
      }
      this.rows.clear();
      const { through } = group;
      const applied = through && { queueId: this.#queueId, from: this.#stored, through };
      return { applied, things, commands: [...group.commands.values()] };
    } finally {
      this.#gate = undefined;
      open();
    }
  }

  async #write(change: Change, group: Group): Promise<boolean> {
    for (let waitMs = MIN_RETRY_MS; ; waitMs = Math.min(2 * waitMs, MAX_RETRY_MS)) {
      try {
        await this.options.store.write(change);
        this.#state.enter('writing', 'info', {}, 'the store can be written again');
        return true;
      } catch (error) {
        const told = this.#unwritten(error);
        for (const { reject } of group.waiters.splice(0)) reject(told);
        if (this.#stopped) return false;
        await sleep(waitMs * (0.5 + Math.random() / 2));
      }
    }
  }

  /** What those who wait are told. @throws the error itself, where trying again does not help */
  #unwritten(error: unknown): HoldfastError {
    if (!(error instanceof HoldfastError && error.retry)) throw error;
    const reason = messageOf(error);
    this.#state.enter('waiting', 'warn', { reason }, 'the store cannot be written; shadow waits');
    const message = 'the store went away while this was being written; it is written when the store is back';
    return new HoldfastError('store', message, true, error);
  }

  #settle(group: Group): void {
    const { metrics, onWritten } = this.options;
    const { through } = group;
    metrics.written.inc(group.things.length);
    if (through !== undefined) {
      this.#stored = through;
      metrics.endToEndSeconds.observe(Math.max(0, Date.now() - group.oldestMs) / 1000);
      this.#ack(through);
    }
    onWritten(group);
    for (const { resolve } of group.waiters) resolve();
  }

  #ack(through: Position): void {
    const { store, onApplied } = this.options;
    if (store.unsafeMs === 0) {
      onApplied(this.#queueId, through);
      return;
    }
    const timer = setTimeout(() => {
      this.#acks.delete(timer);
      onApplied(this.#queueId, through);
    }, store.unsafeMs);
    this.#acks.add(timer);
  }
}
