/**
 * `telemetry` as a hypertable, where the database has TimescaleDB: chunks of a day, compressed after a week, and the
 * per-minute aggregate kept up to date by the database.
 *
 * Retention is not a policy of TimescaleDB's: that drops a chunk by the time of its rows alone, so that a record of 1970
 * would be gone the day after it was stored. retention.ts also asks when the rows were received.
 */
import type { Session } from '../../shared/database.js';

const WEEK_MS = 7 * 86_400_000;
/** A refresh window of the aggregate must be wider than two of its buckets. */
const HOUR_MS = 3_600_000;

/**
 * True where the extension is installed, or can be: its library is loaded by the server and has the licence under which
 * compression and aggregates work. Asking by its settings needs no rights, and `create extension` without the library
 * ends the session.
 */
export async function hasTimescale(session: Session): Promise<boolean> {
  const { rows } = await session.client.query<{ usable: boolean }>(`
    select exists (select from pg_available_extensions where name = 'timescaledb')
       and coalesce(current_setting('timescaledb.license', true), '') <> 'apache'
       and exists (select from pg_settings where name like 'timescaledb.%') as usable`);
  return rows[0]?.usable === true;
}

/** Makes the table, empty and plain, a hypertable with all that belongs to it. */
export async function createHypertable(session: Session, retentionMs: number): Promise<void> {
  const { client } = session;
  await client.query('create extension if not exists timescaledb');
  await client.query(`
    select create_hypertable('telemetry', 'time', chunk_time_interval => interval '1 day', create_default_indexes => false);
    alter table telemetry set (
      timescaledb.compress,
      timescaledb.compress_segmentby = 'device_id',
      timescaledb.compress_orderby = 'time, seq'
    );
    select add_compression_policy('telemetry', compress_after => interval '7 days')`);
  await client.query(`
    create materialized view telemetry_minute with (timescaledb.continuous, timescaledb.materialized_only = false) as
      select time_bucket('1 minute', time) as minute, device_id, type, site,
             count(*) as records, min(seq) as first_seq, max(seq) as last_seq,
             avg(extract(epoch from received - time)) as delay_seconds
      from telemetry group by 1, 2, 3, 4 with no data`);
  // A refresh of what retention has dropped would drop the aggregate too, so it does not look back that far.
  const startMs = Math.max(HOUR_MS, Math.min(WEEK_MS, retentionMs));
  await client.query(
    `select add_continuous_aggregate_policy('telemetry_minute', start_offset => $1::interval,
       end_offset => interval '1 minute', schedule_interval => interval '1 minute')`,
    [`${startMs / 1_000} seconds`],
  );
}
