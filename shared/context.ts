/**
 * The devices' context (type and site, from table `devices`), cached: storage joins it to every row it writes, live to
 * every message.
 *
 * Ids are loaded in batches when they are first met; a device that is not in the table is cached as a null context. A
 * trigger on the table notifies which ids have changed (storage's schema installs it); they are forgotten, and loaded again
 * when they are next met. One session both listens and loads: notifications then arrive in order with results, and the
 * one case left, a change during a load, makes that load ask again. After a reconnect, and every minute for safety (a
 * pooler between us swallows LISTEN; the table may not exist yet), everything is forgotten.
 *
 * Bounded by two generations: where the young one is full it becomes the old one, and what nobody has asked for since
 * then is forgotten with the next turn.
 */
import type { Notification } from 'pg';
import { Connection, databaseAway, describeDatabaseError, type Session } from './database.js';
import type { Part } from './lifecycle.js';
import type { Logger } from './log.js';

/** The channel that the trigger on `devices` notifies: the payload is a device id, or ALL_DEVICES. */
export const DEVICES_CHANNEL = 'holdfast_devices';
/** No device id: ids start with a letter or a digit. */
export const ALL_DEVICES = '*';

const MAX_ENTRIES = 200_000;
const EXPIRE_MS = 60_000;
const RECONNECT_MS = 1_000;
const LOAD_TIMEOUT_MS = 10_000;
/** How often a load asks because devices change meanwhile; the last answer then stands until the next change or expiry. */
const MAX_ROUNDS = 3;
const MAX_IDS_PER_QUERY = 10_000;

export interface Context {
  readonly type: string | null;
  readonly site: string | null;
}

const NO_CONTEXT: Context = Object.freeze({ type: null, site: null });

interface Row extends Context {
  readonly device_id: string;
}

export interface ContextCacheOptions {
  readonly url: string;
  readonly log: Logger;
  /** How many devices are kept, about. */
  readonly maxEntries?: number;
}

export class ContextCache implements Part {
  readonly name = 'device context';
  readonly #halfEntries: number;
  #young = new Map<string, Context>();
  #old = new Map<string, Context>();
  readonly #connection: Connection;
  /** For each query under way, the ids that have changed since it was sent. */
  readonly #fetches = new Set<Set<string>>();
  #timers: NodeJS.Timeout[] = [];
  #running = false;

  constructor(private readonly options: ContextCacheOptions) {
    this.#halfEntries = Math.max(1, Math.floor((options.maxEntries ?? MAX_ENTRIES) / 2));
    this.#connection = new Connection(options.url, 'holdfast context', (session) => this.#listen(session));
  }

  /** Starts to listen for changes, as soon as the database is there. */
  start(): Promise<void> {
    this.#running = true;
    const expire = setInterval(() => this.#forget(ALL_DEVICES), EXPIRE_MS);
    // Without it a cache that is only read from would stay stale after the connection broke.
    const reconnect = setInterval(() => this.#reconnect(), RECONNECT_MS);
    this.#timers = [expire.unref(), reconnect.unref()];
    this.#reconnect();
    return Promise.resolve();
  }

  async stop(): Promise<void> {
    this.#running = false;
    for (const timer of this.#timers) clearInterval(timer);
    await this.#connection.close();
  }

  /**
   * Loads the ids that are not cached yet.
   * @throws HoldfastError database (retry) while the database is away
   */
  async load(deviceIds: Iterable<string>): Promise<void> {
    this.#turn();
    const ids = [...deviceIds];
    for (let round = 1; round < MAX_ROUNDS; round++) {
      // Asked anew in every round: what was cached at first may have been forgotten while the rest was loaded.
      const missing = this.#missing(ids);
      if (missing.length === 0) return;
      await this.#fetch(missing, false);
    }
    if (this.#missing(ids).length > 0) await this.#fetch(ids, true);
  }

  /** The cached context, or a null context. */
  get(deviceId: string): Context {
    const young = this.#young.get(deviceId);
    if (young !== undefined) return young;
    const old = this.#old.get(deviceId);
    if (old === undefined) return NO_CONTEXT;
    this.#young.set(deviceId, old);
    return old;
  }

  /** Only between loads: what one load has brought is there for its caller, however much it is. */
  #turn(): void {
    if (this.#young.size < this.#halfEntries) return;
    this.#old = this.#young;
    this.#young = new Map();
  }

  #missing(deviceIds: Iterable<string>): string[] {
    const missing = new Set<string>();
    for (const id of deviceIds) {
      if (this.#young.has(id)) continue;
      const old = this.#old.get(id);
      if (old === undefined) missing.add(id);
      else this.#young.set(id, old);
    }
    return [...missing];
  }

  /** @param keepChanged true: also what changed meanwhile is cached as it was read */
  async #fetch(ids: readonly string[], keepChanged: boolean): Promise<void> {
    const session = await this.#connection.session();
    const changed = new Set<string>();
    this.#fetches.add(changed);
    try {
      const found = await readDevices(session, ids);
      for (const id of ids) {
        const current = keepChanged || !(changed.has(id) || changed.has(ALL_DEVICES));
        if (current) this.#young.set(id, found.get(id) ?? NO_CONTEXT);
      }
    } finally {
      this.#fetches.delete(changed);
    }
  }

  async #listen(session: Session): Promise<void> {
    session.client.on('notification', (notification) => this.#hear(notification));
    try {
      await session.within(LOAD_TIMEOUT_MS, session.client.query(`listen ${DEVICES_CHANNEL}`));
    } catch (error) {
      throw databaseAway(error);
    }
    this.#forget(ALL_DEVICES);
  }

  #reconnect(): void {
    if (!this.#running || this.#connection.connected) return;
    this.#connection.session().catch((error: unknown) => {
      this.options.log.debug({ reason: describeDatabaseError(error) }, 'cannot listen for changes of devices yet');
    });
  }

  #hear(notification: Notification): void {
    if (notification.channel === DEVICES_CHANNEL) this.#forget(notification.payload ?? ALL_DEVICES);
  }

  #forget(deviceId: string): void {
    for (const changed of this.#fetches) changed.add(deviceId);
    if (deviceId === ALL_DEVICES) {
      this.#young.clear();
      this.#old.clear();
    } else {
      this.#young.delete(deviceId);
      this.#old.delete(deviceId);
    }
  }
}

async function readDevices(session: Session, ids: readonly string[]): Promise<Map<string, Context>> {
  const found = new Map<string, Context>();
  try {
    for (let at = 0; at < ids.length; at += MAX_IDS_PER_QUERY) {
      const sql = 'select device_id, type, site from devices where device_id = any($1)';
      const query = session.client.query<Row>(sql, [ids.slice(at, at + MAX_IDS_PER_QUERY)]);
      const { rows } = await session.within(LOAD_TIMEOUT_MS, query);
      for (const { device_id, type, site } of rows) found.set(device_id, { type, site });
    }
    return found;
  } catch (error) {
    session.destroy();
    throw databaseAway(error);
  }
}
