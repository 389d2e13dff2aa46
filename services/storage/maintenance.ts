/**
 * The keeping of `telemetry`'s days, at the start and then every hour: days are made ahead and dropped when they are over.
 * One storage at a time does it (an advisory lock); what fails is logged and tried again in a minute, because rows have a
 * place without it.
 */
import { Session, describeDatabaseError } from '../../shared/database.js';
import type { Part } from '../../shared/lifecycle.js';
import type { Logger } from '../../shared/log.js';
import { makeDays } from './partitions.js';
import { dropOldDays, hypertableSchema } from './retention.js';
import { migrate, type SchemaOptions } from './schema.js';

const INTERVAL_MS = 3_600_000;
const RETRY_MS = 60_000;
const SOON_MS = 2_000;
const LOCK = 5_208_150_118;

export interface MaintenanceOptions extends SchemaOptions {
  readonly url: string;
  readonly log: Logger;
}

export class Maintenance implements Part {
  readonly name = 'maintenance';
  #timer: NodeJS.Timeout | undefined;
  #running: Promise<void> = Promise.resolve();
  #session: Session | undefined;
  #stopped = false;

  constructor(private readonly options: MaintenanceOptions) {}

  start(): Promise<void> {
    this.#schedule(0);
    return Promise.resolve();
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    clearTimeout(this.#timer);
    this.#session?.destroy();
    await this.#running;
  }

  #schedule(delayMs: number): void {
    this.#timer = setTimeout(() => {
      this.#running = this.#attempt();
    }, delayMs);
  }

  async #attempt(): Promise<void> {
    let nextMs = INTERVAL_MS;
    try {
      this.#session = await Session.open(this.options.url, 'holdfast maintenance');
      await maintain(this.#session, Date.now(), this.options);
      await this.#session.close();
    } catch (error) {
      this.#session?.destroy();
      const connected = this.#session !== undefined;
      nextMs = connected ? RETRY_MS : SOON_MS;
      const level = connected && !this.#stopped ? 'warn' : 'debug';
      this.options.log[level]({ reason: describeDatabaseError(error) }, 'could not keep the days of telemetry');
    }
    this.#session = undefined;
    if (!this.#stopped) this.#schedule(nextMs);
  }
}

/** Makes the days around `nowMs` and drops those that are over; nothing where another storage is at it. */
export async function maintain(session: Session, nowMs: number, options: SchemaOptions): Promise<void> {
  await migrate(session, options);
  const { client } = session;
  await client.query("set lock_timeout = '5s'");
  const { rows } = await client.query<{ mine: boolean }>('select pg_try_advisory_lock($1) as mine', [LOCK]);
  if (rows[0]?.mine !== true) return;
  if ((await hypertableSchema(session)) === undefined) await makeDays(session, nowMs, options.log);
  await dropOldDays(session, nowMs, options.retentionMs, options.log);
  await client.query('select pg_advisory_unlock($1)', [LOCK]);
}
