/**
 * Puts merges into the database, each in one transaction with its position, and does not give up: what fails is rolled
 * back and tried again until it is committed, the process stops, or another writer has taken over (`fenced`).
 *
 *   BEGIN · UPDATE consumer_positions … WHERE position = old (the fence; it also waits for another writer's transaction)
 *         · COPY telemetry · COMMIT
 *
 * A merge with duplicates or bad rows takes the slow path instead (careful.ts). As duplicates come in storms (a fleet that
 * reconnects and sends again), the merge after one with duplicates begins there.
 *
 * A COMMIT that is not answered is in doubt: the next attempt's fence finds out which way it went.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { ContextCache } from '../../shared/context.js';
import {
  Connection,
  databaseFault,
  describeDatabaseError,
  fullJitterMs,
  isBug,
  type DatabaseFault,
  type Session,
} from '../../shared/database.js';
import { HoldfastError } from '../../shared/errors.js';
import { formatPosition } from '../../shared/position.js';
import { StateLog } from '../../shared/state-log.js';
import { storeCarefully, type Outcome } from './careful.js';
import { copyInto } from './copy.js';
import type { Merge } from './merge.js';
import type { StorageMetrics } from './metrics.js';
import type { Positions } from './positions.js';
import { RowEncoder, UnencodableRow } from './rows.js';
import { migrate, type SchemaOptions } from './schema.js';

const STATEMENT_MS = 60_000;
const BACKOFF_MS = 100;
const MAX_BACKOFF_MS = 5_000;
const COPY = 'copy telemetry (device_id, type, site, time, seq, received, data) from stdin (format binary)';

/**
 * A transaction of ours must not outlive us: its lock on the position would keep a successor out. The server asks now and
 * then whether we are still there, and waits for a lock less long than we wait for the server. The last is for the slow
 * path on compressed chunks, whose limit of unpacked rows would refuse the same merge for ever; without TimescaleDB it
 * means nothing.
 */
const SESSION_SETTINGS = `
  set lock_timeout = '30s';
  set idle_in_transaction_session_timeout = '90s';
  set tcp_keepalives_idle = 10;
  set tcp_keepalives_interval = 5;
  set tcp_keepalives_count = 3;
  set client_connection_check_interval = '5s';
  set timescaledb.max_tuples_decompressed_per_dml_transaction = 0`;

export interface WriterOptions extends SchemaOptions {
  readonly url: string;
  readonly positions: Positions;
  readonly context: Pick<ContextCache, 'load' | 'get'>;
  readonly metrics: StorageMetrics;
}

export class Writer {
  readonly #connection: Connection;
  readonly #encoder = new RowEncoder();
  readonly #stopping = new AbortController();
  readonly #state: StateLog;
  #failing = false;
  #storing: Promise<boolean> | undefined;
  #duplicatesBefore = false;
  #stored = 0;

  constructor(private readonly options: WriterOptions) {
    this.#state = new StateLog(options.log, 'storing');
    this.#connection = new Connection(options.url, 'holdfast storage', async (session) => {
      await session.within(STATEMENT_MS, session.client.query(SESSION_SETTINGS));
      await migrate(session, options);
    });
  }

  /** True while rows can be stored, as far as is known. */
  get ready(): boolean {
    return this.#connection.connected && !this.#failing;
  }

  /** Rows stored since the start. */
  get stored(): number {
    return this.#stored;
  }

  /**
   * Connects, so that readiness is known before the first merge and again after the database was away.
   * @throws HoldfastError database (retry); start_failed where the schema is newer than this program
   */
  async connect(): Promise<void> {
    await this.#connection.session();
  }

  /**
   * Stores the merge, however long that takes.
   * @returns false where it was stopped before: the merge is not acked then
   * @throws HoldfastError fenced; start_failed where the schema is newer than this program
   */
  async store(merge: Merge): Promise<boolean> {
    this.#storing = this.#untilStored(merge);
    return this.#storing;
  }

  async #untilStored(merge: Merge): Promise<boolean> {
    const attempt = new Attempt(this.#duplicatesBefore);
    for (let failures = 0; !this.#isStopping();) {
      try {
        await this.#try(merge, attempt);
        this.#failing = false;
        this.#state.enter('storing', 'info', { through: formatPosition(merge.through) }, 'stores again');
        return true;
      } catch (error) {
        this.#connection.destroy();
        if (this.#isStopping()) break;
        if (isBug(error) || (error instanceof HoldfastError && !error.retry)) throw error;
        if (this.#turnCareful(merge, attempt, error)) continue;
        failures++;
        await this.#backOff(merge, error, failures);
      }
    }
    return false;
  }

  /** Gives a merge that is just being stored `graceMs` to be committed, then ends it: it is rolled back. */
  async stop(graceMs: number): Promise<void> {
    this.#stopping.abort();
    const timer = setTimeout(() => this.#connection.destroy(), graceMs);
    await this.#storing?.catch(() => undefined);
    clearTimeout(timer);
    await this.#connection.close();
  }

  #isStopping(): boolean {
    return this.#stopping.signal.aborted;
  }

  async #try(merge: Merge, attempt: Attempt): Promise<void> {
    const { positions, context, metrics } = this.options;
    const encoder = this.#encoder;
    const session = await this.#connection.session();
    encoder.begin(merge.batches);
    await context.load(encoder.deviceIds);
    encoder.join(context);
    const seconds = metrics.copySeconds.startTimer();
    await run(session, 'begin isolation level read committed');
    const move = positions.move(session, merge.queueId, merge.through, attempt.inDoubt);
    if (!(await session.within(STATEMENT_MS, move))) {
      await run(session, 'rollback');
      this.#finish(merge, { stored: encoder.rows, duplicates: 0, dead: { record: 0, payload: 0, database: 0 } });
      return;
    }
    attempt.inDoubt = false;
    const outcome = attempt.careful ? await storeCarefully(session, encoder) : await this.#copy(session);
    attempt.inDoubt = true;
    // After a failed statement COMMIT is answered with ROLLBACK, and no error.
    if ((await run(session, 'commit')) !== 'COMMIT') throw new Error('the transaction was rolled back at COMMIT');
    seconds();
    this.#finish(merge, outcome);
  }

  async #copy(session: Session): Promise<Outcome> {
    const stored = await copyInto(session, COPY, this.#encoder.chunks('telemetry'));
    if (stored !== this.#encoder.rows) throw new Error(`${this.#encoder.rows} rows were sent, ${stored} were copied`);
    return { stored, duplicates: 0, dead: { record: 0, payload: 0, database: 0 } };
  }

  #finish(merge: Merge, outcome: Outcome): void {
    const { positions, metrics } = this.options;
    positions.committed(merge.queueId, merge.through);
    this.#duplicatesBefore = outcome.duplicates > 0;
    this.#stored += outcome.stored;
    metrics.recordsIn.inc(merge.records);
    metrics.rowsStored.inc(outcome.stored);
    metrics.duplicates.inc(outcome.duplicates);
    metrics.deadLetters.inc({ reason: 'record' }, outcome.dead.record);
    metrics.deadLetters.inc({ reason: 'payload' }, outcome.dead.payload);
    metrics.deadLetters.inc({ reason: 'database' }, outcome.dead.database);
    metrics.mergeRows.observe(this.#encoder.rows);
    const nowMs = Date.now();
    for (const receivedMs of this.#encoder.receivedMs) {
      metrics.endToEndSeconds.observe(Math.max(0, nowMs - receivedMs) / 1_000);
    }
  }

  /** @returns true where the merge is tried again at once, on the slow path */
  #turnCareful(merge: Merge, attempt: Attempt, error: unknown): boolean {
    const fault = faultOf(error);
    if (attempt.careful || attempt.inDoubt || (fault !== 'duplicate' && fault !== 'data')) return false;
    attempt.careful = true;
    this.options.metrics.retries.inc({ fault });
    const through = formatPosition(merge.through);
    this.options.log.debug({ fault, through }, 'a merge takes the slow path');
    return true;
  }

  async #backOff(merge: Merge, error: unknown, failures: number): Promise<void> {
    const fault = faultOf(error);
    this.options.metrics.retries.inc({ fault });
    const what = { fault, failures, through: formatPosition(merge.through), reason: describeDatabaseError(error) };
    // A database that is away comes back by itself; the rest only an operator can mend.
    const level = fault === 'connection' ? 'warn' : 'error';
    this.#state.enter(`${fault}: ${what.reason}`, level, what, 'cannot store; trying again');
    this.#failing = true;
    const delayMs = fullJitterMs(failures, BACKOFF_MS, MAX_BACKOFF_MS);
    await sleep(delayMs, undefined, { signal: this.#stopping.signal }).catch(() => undefined);
  }
}

/** What one merge's attempts have found out. */
class Attempt {
  /** A COMMIT was sent, and its answer is not known. */
  inDoubt = false;

  /** @param careful the slow path is needed */
  constructor(public careful: boolean) {}
}

function faultOf(error: unknown): DatabaseFault {
  return error instanceof UnencodableRow ? 'data' : databaseFault(error);
}

/** @returns the command that the server says it has done */
async function run(session: Session, sql: string): Promise<string> {
  const { command } = await session.within(STATEMENT_MS, session.client.query(sql));
  return command;
}
