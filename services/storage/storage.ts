/**
 * Storage: the consumer that puts every telemetry record, report and result into PostgreSQL, exactly once.
 *
 * One loop: while a merge is being stored the next one is being read. A merge is acked to the router after its COMMIT, and
 * nowhere else. What is held is bounded: the merge that is being stored, the one that is being read, one chunk of rows.
 */
import type { ContextCache } from '../../shared/context.js';
import type { DeliverySource } from '../../shared/consumer.js';
import { describeDatabaseError, isBug } from '../../shared/database.js';
import { HoldfastError, asError } from '../../shared/errors.js';
import type { Part } from '../../shared/lifecycle.js';
import type { Registry } from '../../shared/metrics.js';
import { StateLog } from '../../shared/state-log.js';
import { MergeReader, type Merge, type MergeLimits } from './merge.js';
import { StorageMetrics } from './metrics.js';
import type { Positions } from './positions.js';
import type { SchemaOptions } from './schema.js';
import { Writer } from './writer.js';

const STOP_GRACE_MS = 5_000;
const CONNECT_INTERVAL_MS = 1_000;

export interface StorageOptions extends SchemaOptions {
  readonly url: string;
  readonly source: DeliverySource;
  readonly positions: Positions;
  readonly context: Pick<ContextCache, 'load' | 'get'>;
  readonly limits: MergeLimits;
  readonly registry: Registry;
  /** Called once, when the loop has ended with an error: another writer has taken over, or a batch cannot be read. */
  readonly onFailure: (error: Error) => void;
}

export class Storage implements Part {
  readonly name = 'storage';
  readonly #writer: Writer;
  readonly #reader: MergeReader;
  readonly #database: StateLog;
  #connecting: NodeJS.Timeout | undefined;
  #stopped = false;

  constructor(private readonly options: StorageOptions) {
    const { positions, source, limits, registry } = options;
    const metrics = new StorageMetrics(registry, () => this.ready);
    this.#writer = new Writer({ ...options, metrics });
    this.#database = new StateLog(options.log, 'new');
    this.#reader = new MergeReader(source, limits, (queueId) => positions.known(queueId));
  }

  /** True while rows can be stored. */
  get ready(): boolean {
    return this.#writer.ready;
  }

  /** Rows stored since the start. */
  get stored(): number {
    return this.#writer.stored;
  }

  /** Begins to store; does not wait for the database. */
  start(): Promise<void> {
    this.#connect();
    this.#connecting = setInterval(() => this.#connect(), CONNECT_INTERVAL_MS);
    this.#work().catch((error: unknown) => this.#fail(error));
    return Promise.resolve();
  }

  /** Finishes the merge that is being stored, if that takes less than 5 s; whatever is not acked comes again. */
  async stop(): Promise<void> {
    this.#stopped = true;
    clearInterval(this.#connecting);
    await this.#writer.stop(STOP_GRACE_MS);
  }

  async #work(): Promise<void> {
    let next = this.#reader.next();
    for (;;) {
      const merge = await next;
      if (merge === undefined || this.#stopped) return;
      next = this.#reader.next();
      // A failure of reading ahead is met where `next` is awaited, after this merge is stored.
      next.catch(() => undefined);
      if (!(await this.#writer.store(merge))) return;
      this.#ack(merge);
    }
  }

  #ack(merge: Merge): void {
    this.options.source.ack(merge.queueId, merge.through);
  }

  /** Keeps a connection while there is nothing to store, too. */
  #connect(): void {
    this.#writer.connect().then(
      () => this.#database.enter('connected', 'info', {}, 'connected to the database'),
      (error: unknown) => {
        if (isBug(error) || (error instanceof HoldfastError && !error.retry)) this.#fail(error);
        else this.#lost(describeDatabaseError(error));
      },
    );
  }

  #lost(reason: string): void {
    if (this.#stopped) return;
    this.#database.enter(`lost: ${reason}`, 'warn', { reason }, 'no database; what comes is held until it is back');
  }

  #fail(error: unknown): void {
    if (this.#stopped) return;
    clearInterval(this.#connecting);
    this.#stopped = true;
    this.options.onFailure(asError(error));
  }
}
