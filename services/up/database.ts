/** The embedded PostgreSQL under supervision: started again, on the same directory, when it ends unasked. */
import { setTimeout as sleep } from 'node:timers/promises';
import { messageOf } from '../../shared/errors.js';
import type { Part } from '../../shared/lifecycle.js';
import type { Logger } from '../../shared/log.js';
import { EmbeddedPostgres, type EmbeddedPostgresOptions } from './postgres.js';
import type { RunFiles } from './run-files.js';

const SERVICE = 'postgres';
const FIRST_BACKOFF_MS = 200;
const MAX_BACKOFF_MS = 5_000;

export class Database implements Part {
  readonly name = 'PostgreSQL';
  #server: EmbeddedPostgres;
  #stopping = false;
  #watching: Promise<void> | undefined;
  readonly #stopWaiting = new AbortController();

  constructor(
    private readonly options: EmbeddedPostgresOptions,
    private readonly runFiles: RunFiles,
    private readonly log: Logger,
  ) {
    this.#server = new EmbeddedPostgres(options);
  }

  get url(): string {
    return this.#server.url;
  }

  /** @throws HoldfastError start_failed: a first start that fails is told, not tried again */
  async start(): Promise<void> {
    await this.#startServer();
    this.#watching = this.#watch();
  }

  async stop(): Promise<void> {
    this.#stopping = true;
    this.#stopWaiting.abort();
    await this.#server.stop();
    await this.#watching;
    this.runFiles.remove(SERVICE);
  }

  async #startServer(): Promise<void> {
    await this.#server.start();
    if (this.#server.pid !== undefined) this.runFiles.write(SERVICE, this.#server.pid);
  }

  async #watch(): Promise<void> {
    let backoffMs = FIRST_BACKOFF_MS;
    while (!this.#stopping) {
      const exit = await this.#server.exited;
      if (this.#isStopping()) return;
      this.log.warn({ ...exit }, 'PostgreSQL ended; it is started again');
      await sleep(backoffMs, undefined, { signal: this.#stopWaiting.signal }).catch(() => undefined);
      if (this.#isStopping()) return;
      this.#server = new EmbeddedPostgres(this.options);
      try {
        await this.#startServer();
        backoffMs = FIRST_BACKOFF_MS;
      } catch (error) {
        this.log.error(`PostgreSQL did not start: ${messageOf(error)}`);
        backoffMs = Math.min(2 * backoffMs, MAX_BACKOFF_MS);
      }
    }
  }

  #isStopping(): boolean {
    return this.#stopping;
  }
}
