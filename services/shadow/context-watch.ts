/**
 * Gives things the type and site of their devices (table `devices`), for lists and groups of commands.
 *
 * Not on the way of a write: a database that is away must not hold up a shadow. What was written is looked up afterwards, a
 * bounded number a second, and written again where its context has changed. So a list may be a second behind, and a device whose row
 * changes is listed anew with the next thing it says.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { ContextCache } from '../../shared/context.js';
import { describeDatabaseError, isBug } from '../../shared/database.js';
import type { Part } from '../../shared/lifecycle.js';
import type { Logger } from '../../shared/log.js';
import { StateLog } from '../../shared/state-log.js';
import type { Things } from './things.js';

const INTERVAL_MS = 1_000;
const LOOKED_UP_A_TIME = 10_000;
/** Things that wait to be looked up; beyond it they wait for the next thing they say. */
const MAX_WAITING = 200_000;

export class ContextWatch implements Part {
  readonly name = 'context of things';
  readonly #waiting = new Set<string>();
  readonly #state: StateLog;
  #stopped = false;

  constructor(
    private readonly things: Things,
    private readonly context: Pick<ContextCache, 'load' | 'get'>,
    log: Logger,
    private readonly onFailure: (error: unknown) => void,
  ) {
    this.#state = new StateLog(log, 'known');
    things.onStored((ids) => this.#add(ids));
  }

  start(): Promise<void> {
    this.#run().catch(this.onFailure);
    return Promise.resolve();
  }

  stop(): Promise<void> {
    this.#stopped = true;
    return Promise.resolve();
  }

  #add(ids: Iterable<string>): void {
    for (const id of ids) {
      if (this.#waiting.size >= MAX_WAITING) return;
      this.#waiting.add(id);
    }
  }

  async #run(): Promise<void> {
    while (!this.#stopped) {
      await sleep(INTERVAL_MS, undefined, { ref: false });
      const ids = [...this.#waiting].slice(0, LOOKED_UP_A_TIME);
      if (ids.length === 0) continue;
      try {
        await this.context.load(ids);
        await this.#apply(ids);
        for (const id of ids) this.#waiting.delete(id);
        this.#state.enter('known', 'info', {}, 'the context of devices can be read again');
      } catch (error) {
        if (isBug(error)) throw error;
        const reason = describeDatabaseError(error);
        this.#state.enter(`away: ${reason}`, 'warn', { reason }, 'the context of devices cannot be read');
      }
    }
  }

  async #apply(ids: readonly string[]): Promise<void> {
    await this.things.inMemory([], []);
    for (const id of ids) {
      const { type, site } = this.context.get(id);
      const slot = this.things.find(id);
      // One that has left memory since is looked up with the next thing it says.
      if (slot === undefined || (slot.value.type === type && slot.value.site === site)) continue;
      slot.value.type = type;
      slot.value.site = site;
      this.things.touch(slot, false);
    }
  }
}
