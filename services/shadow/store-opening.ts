/**
 * Opens the store, and closes it after everything else has ended. A store that is away is asked again, for as long as it
 * takes: the router keeps what comes meanwhile, and /readyz says what is missing.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { HoldfastError, messageOf } from '../../shared/errors.js';
import type { Part } from '../../shared/lifecycle.js';
import type { Logger } from '../../shared/log.js';
import { StateLog } from '../../shared/state-log.js';
import type { Store } from './store.js';

const RETRY_MS = 1_000;

export class StoreOpening implements Part {
  readonly name = 'store';
  readonly #state: StateLog;
  #stopped = false;

  constructor(
    private readonly store: Store,
    log: Logger,
    private readonly onFailure: (error: unknown) => void,
  ) {
    this.#state = new StateLog(log, 'new');
  }

  /** @throws HoldfastError where the store cannot be opened and trying again does not help */
  async start(): Promise<void> {
    if (await this.#open()) return;
    this.#openLater().catch(this.onFailure);
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    await this.store.close();
  }

  async #openLater(): Promise<void> {
    do await sleep(RETRY_MS, undefined, { ref: false });
    while (!this.#stopped && !(await this.#open()));
  }

  async #open(): Promise<boolean> {
    try {
      await this.store.open();
      this.#state.enter('open', 'info', {}, 'the store is open');
      return true;
    } catch (error) {
      if (!(error instanceof HoldfastError && error.retry)) throw error;
      const reason = messageOf(error);
      this.#state.enter(`away: ${reason}`, 'warn', { reason }, 'the store cannot be opened yet');
      return false;
    }
  }
}
