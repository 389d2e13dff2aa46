/**
 * What time does to commands: one that is not over at its expiresAt is TIMED_OUT, and one that is over is removed after the
 * retention. The store knows which are due; they are taken in bounded steps.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { HoldfastError } from '../../shared/errors.js';
import type { Part } from '../../shared/lifecycle.js';
import type { Logger } from '../../shared/log.js';
import { StateLog } from '../../shared/state-log.js';
import { commandWrite, decodeCommand, dueMs, finishedCommand, isOpen } from './command.js';
import type { DownlinkMetrics } from './downlink-metrics.js';
import type { Store } from './store.js';
import type { PutCommand, ThingsApi } from './things-api.js';
import type { Thing } from './thing.js';

export interface ExpiryOptions {
  readonly things: ThingsApi;
  readonly store: Store;
  readonly metrics: DownlinkMetrics;
  /** How long a command is kept once it is over. */
  readonly retentionMs: number;
  readonly log: Logger;
  /** Called where commands cannot be read or written for good: the process must end. */
  readonly onFailure: (error: unknown) => void;
  /** ms since 1970; for tests. */
  readonly clock?: () => number;
}

/** Commands that are looked at in one step. */
const COMMANDS_A_STEP = 1_000;
const PAUSE_MS = 1_000;

export class CommandExpiry implements Part {
  readonly name = 'command expiry';
  readonly #clock: () => number;
  readonly #stopping = new AbortController();
  readonly #state: StateLog;
  #running: Promise<void> | undefined;

  constructor(private readonly options: ExpiryOptions) {
    this.#state = new StateLog(options.log, 'ending');
    this.#clock = options.clock ?? Date.now;
  }

  start(): Promise<void> {
    this.#running = this.#run().catch(this.options.onFailure);
    return Promise.resolve();
  }

  async stop(): Promise<void> {
    this.#stopping.abort();
    await this.#running;
  }

  /**
   * Ends, or removes, the commands that are due.
   * @returns true where there may be more
   * @throws HoldfastError store (retry) while the store is away
   */
  async step(): Promise<boolean> {
    const { things, store } = this.options;
    const nowMs = this.#clock();
    const ids = await store.dueCommands(nowMs, COMMANDS_A_STEP);
    if (ids.length === 0) return false;
    const values = await things.commands(ids);
    const owners = values.flatMap((value) => (value === undefined ? [] : [decodeCommand(value).thing]));
    const done = await things.change([...new Set(owners)], ids, (found, current, put) => {
      const byId = new Map(found.map((thing) => [thing.id, thing]));
      return current.filter((value) => value !== undefined && this.#end(value, byId, nowMs, put)).length;
    });
    // Where nothing was done the store is a write behind: what was due here is over already, and it will know in a moment.
    return ids.length === COMMANDS_A_STEP && done > 0;
  }

  /** @returns false where the command is not due any more */
  #end(value: Buffer, things: ReadonlyMap<string, Thing>, nowMs: number, put: PutCommand): boolean {
    const { retentionMs, metrics } = this.options;
    const command = decodeCommand(value);
    if (dueMs(command, retentionMs) > nowMs) return false;
    const { id, thing } = command;
    if (!isOpen(command)) {
      put({ id, thing, value: undefined, dueMs: nowMs });
      return true;
    }
    const owner = things.get(thing)!;
    owner.setPending(owner.pending.filter((pending) => pending !== id));
    put(commandWrite(finishedCommand(command, 'TIMED_OUT', nowMs), retentionMs));
    metrics.commands.inc({ state: 'TIMED_OUT' });
    return true;
  }

  get #stopped(): boolean {
    return this.#stopping.signal.aborted;
  }

  async #run(): Promise<void> {
    while (!this.#stopped) {
      await this.#endDue();
      // What ends the pause early is stop().
      await sleep(PAUSE_MS, undefined, { signal: this.#stopping.signal }).catch(() => undefined);
    }
  }

  async #endDue(): Promise<void> {
    try {
      while (await this.step()) if (this.#stopped) return;
      this.#state.enter('ending', 'info', {}, 'commands that are due are ended again');
    } catch (error) {
      if (!(error instanceof HoldfastError) || !error.retry) throw error;
      if (this.#stopped) return;
      this.#state.enter(
        'away',
        'warn',
        { reason: error.message },
        'cannot end the commands that are due; it is tried again',
      );
    }
  }
}
