/**
 * Storage's tables: made and migrated by itself, one numbered step after the other, each in one transaction with its line
 * in `holdfast_schema`; an advisory lock keeps two starters from racing.
 *
 * A step that has been released is never edited: a change is a new step. Whether `telemetry` is a hypertable or
 * partitioned by day is decided once, when step 1 makes it; from then on the catalog says which it is.
 */
import type { Session } from '../../shared/database.js';
import { ALL_DEVICES, DEVICES_CHANNEL } from '../../shared/context.js';
import { HoldfastError } from '../../shared/errors.js';
import type { Logger } from '../../shared/log.js';
import { createHypertable, hasTimescale } from './timescale.js';

/** Any number, the same in every storage. */
const LOCK = 5_208_150_116;
const STEP_TIMEOUT_MS = 60_000;
/** A bulk change of more devices than this is told as one: `*`. */
const MAX_NOTIFIED = 100;

export interface SchemaOptions {
  readonly timescale: 'auto' | 'off';
  readonly retentionMs: number;
  readonly log: Logger;
}

type Step = (session: Session, options: SchemaOptions) => Promise<void>;

const STEPS: readonly Step[] = [createTables, createDevicesTrigger];

/** The version that this program needs. */
export const SCHEMA_VERSION = STEPS.length;

/**
 * Brings the schema to this program's version. Cheap where there is nothing to do.
 * @throws HoldfastError start_failed where the database's version is newer than this program
 */
export async function migrate(session: Session, options: SchemaOptions): Promise<void> {
  if ((await readVersion(session)) === SCHEMA_VERSION) return;
  for (;;) {
    const done = await session.within(
      STEP_TIMEOUT_MS,
      inTransaction(session, () => migrateOnce(session, options)),
    );
    if (done) return;
  }
}

/** @returns true once there is nothing left to do */
async function migrateOnce(session: Session, options: SchemaOptions): Promise<boolean> {
  await session.client.query('select pg_advisory_xact_lock($1)', [LOCK]);
  const version = await readVersion(session);
  const step = STEPS[version];
  if (step === undefined) return true;
  await session.client.query(
    'create table if not exists holdfast_schema (version int primary key, applied timestamptz not null default now())',
  );
  await step(session, options);
  await session.client.query('insert into holdfast_schema (version) values ($1)', [version + 1]);
  options.log.info({ version: version + 1 }, 'the schema has a new version');
  return false;
}

async function readVersion(session: Session): Promise<number> {
  // Asked of pg_class, because to_regclass alone answers from a cache that does not know what others have just committed.
  const { rows: found } = await session.client.query<{ there: boolean }>(
    "select exists (select from pg_class where oid = to_regclass('holdfast_schema')) as there",
  );
  if (found[0]?.there !== true) return 0;
  const { rows } = await session.client.query<{ version: number }>(
    'select coalesce(max(version), 0)::int as version from holdfast_schema',
  );
  const version = rows[0]!.version;
  if (version <= SCHEMA_VERSION) return version;
  const what = `the database's schema has version ${version}, this program knows ${SCHEMA_VERSION}`;
  throw new HoldfastError('start_failed', `${what}: update the program`, false);
}

/** Runs `work` in a transaction; whatever it throws rolls back. */
export async function inTransaction<T>(session: Session, work: () => Promise<T>): Promise<T> {
  await session.client.query('begin');
  try {
    const result = await work();
    await session.client.query('commit');
    return result;
  } catch (error) {
    if (!session.closed) await session.client.query('rollback');
    throw error;
  }
}

async function createTables(session: Session, options: SchemaOptions): Promise<void> {
  const timescale = options.timescale === 'auto' && (await hasTimescale(session));
  await session.client.query(`
    create table telemetry (
      time timestamptz not null,
      device_id text not null,
      seq bigint not null,
      received timestamptz not null,
      type text,
      site text,
      data jsonb not null,
      primary key (device_id, time, seq)
    ) ${timescale ? '' : 'partition by range (time)'};
    create table devices (
      device_id text primary key,
      type text,
      site text,
      latitude float8,
      longitude float8,
      labels jsonb
    );
    create table consumer_positions (
      queue_id uuid not null,
      consumer text not null,
      epoch bigint not null,
      "offset" bigint not null,
      primary key (queue_id, consumer)
    );
    create table dead_letters (
      received timestamptz,
      device_id text,
      seq bigint,
      time timestamptz,
      payload bytea,
      reason text
    )`);
  if (timescale) await createHypertable(session, options.retentionMs);
  else await createPartitioned(session);
  options.log.info({ timescale }, timescale ? 'telemetry is a hypertable' : 'telemetry is partitioned by day');
}

/** Whatever has no partition of its day, because it is too old or too far in the future, lands in the default one. */
async function createPartitioned(session: Session): Promise<void> {
  await session.client.query(`
    create table telemetry_default partition of telemetry default;
    create view telemetry_minute as
      select date_bin('1 minute', time, timestamptz '2000-01-01 00:00:00+00') as minute, device_id, type, site,
             count(*) as records, min(seq) as first_seq, max(seq) as last_seq,
             avg(extract(epoch from received - time)) as delay_seconds
      from telemetry group by 1, 2, 3, 4`);
}

/** Says on DEVICES_CHANNEL which devices have changed; the contexts' caches listen. */
async function createDevicesTrigger(session: Session): Promise<void> {
  await session.client.query(`
    create function holdfast_devices_changed() returns trigger language plpgsql as $$
    begin
      if tg_op = 'TRUNCATE' then
        perform pg_notify('${DEVICES_CHANNEL}', '${ALL_DEVICES}');
      elsif (select count(*) from (select from changed limit ${MAX_NOTIFIED + 1}) few) > ${MAX_NOTIFIED} then
        perform pg_notify('${DEVICES_CHANNEL}', '${ALL_DEVICES}');
      else
        perform pg_notify('${DEVICES_CHANNEL}', device_id) from changed where length(device_id) <= 128;
      end if;
      return null;
    end $$;
    create trigger holdfast_inserted after insert on devices referencing new table as changed
      for each statement execute function holdfast_devices_changed();
    create trigger holdfast_updated_from after update on devices referencing old table as changed
      for each statement execute function holdfast_devices_changed();
    create trigger holdfast_updated_to after update on devices referencing new table as changed
      for each statement execute function holdfast_devices_changed();
    create trigger holdfast_deleted after delete on devices referencing old table as changed
      for each statement execute function holdfast_devices_changed();
    create trigger holdfast_truncated after truncate on devices
      for each statement execute function holdfast_devices_changed()`);
}
