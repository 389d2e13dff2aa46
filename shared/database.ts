/**
 * Connections to PostgreSQL, shared by whoever speaks to it: how one is opened, how it is thrown away at once, and what
 * its errors mean for the caller.
 *
 * There is no pool. Each user here needs exactly one session whose state it knows (a transaction with its fence; a
 * LISTEN), and a session that failed in the middle of something is destroyed rather than repaired.
 */
import { Socket } from 'node:net';
import { Client, DatabaseError } from 'pg';
import { HoldfastError, messageOf } from './errors.js';

const CONNECT_TIMEOUT_MS = 5_000;
const KEEP_ALIVE_DELAY_MS = 10_000;
/** How long a polite goodbye may take before the socket is destroyed. */
const CLOSE_TIMEOUT_MS = 1_000;

/**
 * What an error asks for: `connection`: connect again, nothing is wrong with the statement; `duplicate`: a unique key is
 * taken; `data`: a value is refused and will be refused again; `other`: only an operator can help (permissions, a missing
 * table, a full disk), so it is tried again, loudly.
 */
export type DatabaseFault = 'connection' | 'duplicate' | 'data' | 'other';

/** Sorts an error by its SQLSTATE or, where the server never answered, by the socket's error. */
export function databaseFault(error: unknown): DatabaseFault {
  if (error instanceof HoldfastError) {
    if (error.code !== 'database') return 'other';
    // What stood in the way of a connection is no fault of the caller's data.
    return databaseFault(error.cause) === 'connection' ? 'connection' : 'other';
  }
  if (!(error instanceof DatabaseError)) return 'connection';
  const code = error.code ?? '';
  if (code === '23505') return 'duplicate';
  // Class 22: data exceptions. 23: constraints. 54: a value over a limit of the program. 21 and P0: a trigger's refusal.
  if (/^(22|23|54|21|P0)/.test(code)) return 'data';
  // 08: connection exceptions. 57P: shutdown, crash, starting up. 53300: too many connections. 40: rolled back, try again.
  if (/^(08|57P|40)/.test(code) || code === '53300') return 'connection';
  return 'other';
}

/** One connection to the database. */
export class Session {
  #closed = false;

  private constructor(
    readonly client: Client,
    private readonly socket: Socket,
  ) {
    client.once('end', () => (this.#closed = true));
    // The caller's query rejects with the same error; without a listener an idle session's end would end the process.
    client.on('error', () => this.destroy());
  }

  /**
   * Connects within 5 s.
   * @param application what pg_stat_activity shows
   * @throws HoldfastError database (retry)
   */
  static async open(url: string, application: string): Promise<Session> {
    const socket = new Socket();
    const client = new Client({
      connectionString: url,
      application_name: application,
      connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
      keepAlive: true,
      keepAliveInitialDelayMillis: KEEP_ALIVE_DELAY_MS,
      stream: () => socket,
    });
    const session = new Session(client, socket);
    try {
      await client.connect();
      return session;
    } catch (error) {
      session.destroy();
      throw databaseAway(error);
    }
  }

  /** True once the connection is gone: from then on every query fails. */
  get closed(): boolean {
    return this.#closed;
  }

  /**
   * Waits for `work` on this session, for at most `timeoutMs`: then the session is destroyed, which makes the work reject.
   * Nobody waits for ever for a server that has a lock in its way or has gone without a word.
   */
  async within<T>(timeoutMs: number, work: Promise<T>): Promise<T> {
    const timer = setTimeout(() => this.destroy(), timeoutMs);
    try {
      return await work;
    } finally {
      clearTimeout(timer);
    }
  }

  /** Drops the connection at once; the server rolls an open transaction back. Queries under way reject. */
  destroy(): void {
    this.#closed = true;
    this.socket.destroy();
  }

  /** Says goodbye and disconnects, within a second. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    const timer = setTimeout(() => this.socket.destroy(), CLOSE_TIMEOUT_MS);
    try {
      await this.client.end();
    } finally {
      clearTimeout(timer);
      this.socket.destroy();
    }
  }
}

/**
 * The one session of its owner, opened when it is asked for and again after it broke. Callers that ask while it is being
 * opened wait for the same one.
 */
export class Connection {
  #session: Session | undefined;
  #opening: Promise<Session> | undefined;

  /**
   * @param application what pg_stat_activity shows
   * @param prepare what every new session needs before it is used
   */
  constructor(
    private readonly url: string,
    private readonly application: string,
    private readonly prepare: (session: Session) => Promise<void>,
  ) {}

  get connected(): boolean {
    return this.#session !== undefined && !this.#session.closed;
  }

  /** @throws HoldfastError database (retry) while the database is away; what `prepare` throws */
  async session(): Promise<Session> {
    if (this.#session !== undefined && !this.#session.closed) return this.#session;
    this.#opening ??= this.#open().finally(() => (this.#opening = undefined));
    return this.#opening;
  }

  /** Disconnects; a session that is just being opened is waited for, which is bounded. */
  async close(): Promise<void> {
    await this.#opening?.catch(() => undefined);
    await this.#session?.close();
  }

  /** Drops the session at once; queries under way reject, the server rolls back. */
  destroy(): void {
    this.#session?.destroy();
  }

  async #open(): Promise<Session> {
    const session = await Session.open(this.url, this.application);
    try {
      await this.prepare(session);
    } catch (error) {
      session.destroy();
      throw error;
    }
    this.#session = session;
    return session;
  }
}

/** True for what only a mistake in a program throws: no fault of the database's, and not to be tried again. */
export function isBug(error: unknown): boolean {
  return error instanceof TypeError || error instanceof RangeError || error instanceof ReferenceError;
}

/** The error that callers see while the database cannot be reached. */
export function databaseAway(cause: unknown): HoldfastError {
  return new HoldfastError('database', `the database is away: ${describeDatabaseError(cause)}`, true, cause);
}

/** The message of an error, with its SQLSTATE where it has one. */
export function describeDatabaseError(error: unknown): string {
  if (error instanceof AggregateError) return error.errors.map(messageOf).join(', ');
  if (error instanceof DatabaseError && error.code !== undefined) return `${error.message} (SQLSTATE ${error.code})`;
  return messageOf(error);
}

/** A full-jitter back-off: a random time up to a bound that doubles with every attempt, in ms. */
export function fullJitterMs(attempt: number, baseMs: number, maxMs: number): number {
  return Math.random() * Math.min(maxMs, baseMs * 2 ** Math.min(attempt, 30));
}
