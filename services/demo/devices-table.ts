/** Puts the engines into table `devices`, so that their context is there before their first record is written. */
import { setTimeout as sleep } from 'node:timers/promises';
import { Session, describeDatabaseError, fullJitterMs } from '../../shared/database.js';
import type { Part } from '../../shared/lifecycle.js';
import type { Logger } from '../../shared/log.js';
import { ENGINE_TYPE, type Engine } from './engines.js';

const MIN_RETRY_MS = 100;
const MAX_RETRY_MS = 5_000;
/** A database that is starting is no news; one that stays away is. */
const QUIET_ATTEMPTS = 8;

const UPSERT = `
  insert into devices (device_id, type, site, latitude, longitude)
  select * from unnest($1::text[], $2::text[], $3::text[], $4::float8[], $5::float8[])
  on conflict (device_id) do update
  set type = excluded.type, site = excluded.site, latitude = excluded.latitude, longitude = excluded.longitude`;

export class DevicesTable implements Part {
  readonly name = 'table devices';
  #stopped = false;

  constructor(
    private readonly url: string,
    private readonly engines: readonly Engine[],
    private readonly log: Logger,
  ) {}

  /** Returns once the engines are in the table, however long the database takes to be there. */
  async start(): Promise<void> {
    for (let attempt = 0; !this.#stopped; attempt++) {
      try {
        await this.#upsert();
        return;
      } catch (error) {
        const level = attempt === QUIET_ATTEMPTS ? 'warn' : 'debug';
        this.log[level](`waiting for table devices: ${describeDatabaseError(error)}`);
        await sleep(MIN_RETRY_MS + fullJitterMs(attempt, MIN_RETRY_MS, MAX_RETRY_MS));
      }
    }
  }

  stop(): Promise<void> {
    this.#stopped = true;
    return Promise.resolve();
  }

  async #upsert(): Promise<void> {
    const session = await Session.open(this.url, 'holdfast demo');
    try {
      await session.client.query(UPSERT, [
        this.engines.map(({ id }) => id),
        this.engines.map(() => ENGINE_TYPE),
        this.engines.map(({ site }) => site.name),
        this.engines.map(({ site }) => site.latitude),
        this.engines.map(({ site }) => site.longitude),
      ]);
    } finally {
      await session.close();
    }
  }
}
