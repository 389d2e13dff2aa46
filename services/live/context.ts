/**
 * The devices' context for live: as good as it can be had without waiting for long. A database that is away, or slow, costs
 * messages their type and site, and nothing else; that is logged when it begins and when it ends.
 */
import type { Context, ContextCache } from '../../shared/context.js';
import { messageOf } from '../../shared/errors.js';
import type { Logger } from '../../shared/log.js';
import { StateLog } from '../../shared/state-log.js';

const NO_CONTEXT: Context = { type: null, site: null };
/** How long a batch waits for the context of devices that were not met before. */
const WAIT_MS = 250;
/** After a failure the database is left alone for so long. */
const PAUSE_MS = 1_000;

export class LiveContext {
  readonly #state: StateLog;
  #loading: Promise<void> | undefined;
  #pausedUntilMs = 0;

  /** @param cache undefined: there is no database, every context is null */
  constructor(
    private readonly cache: Pick<ContextCache, 'load' | 'get'> | undefined,
    log: Logger,
  ) {
    this.#state = new StateLog(log, 'known');
  }

  get enabled(): boolean {
    return this.cache !== undefined;
  }

  /** Sees to it that get() knows these devices; returns without that where it takes too long. Never rejects. */
  async prepare(deviceIds: ReadonlySet<string>): Promise<void> {
    if (this.cache === undefined || this.#loading !== undefined || Date.now() < this.#pausedUntilMs) return;
    this.#loading = this.#load(this.cache, deviceIds);
    let timer: NodeJS.Timeout | undefined;
    const enough = new Promise<void>((resolve) => (timer = setTimeout(resolve, WAIT_MS)));
    await Promise.race([this.#loading, enough]);
    clearTimeout(timer);
  }

  get(deviceId: string): Context {
    return this.cache?.get(deviceId) ?? NO_CONTEXT;
  }

  async #load(cache: Pick<ContextCache, 'load'>, deviceIds: ReadonlySet<string>): Promise<void> {
    try {
      await cache.load(deviceIds);
      this.#state.enter('known', 'info', {}, 'the database is back: messages have type and site again');
    } catch (error) {
      const reason = messageOf(error);
      this.#state.enter('away', 'warn', { reason }, 'messages go out without type and site');
      this.#pausedUntilMs = Date.now() + PAUSE_MS;
    } finally {
      this.#loading = undefined;
    }
  }
}
