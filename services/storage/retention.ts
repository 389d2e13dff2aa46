/**
 * Retention: a day of `telemetry` goes once it is over, and nothing in it was received, for as long as STORAGE_RETENTION.
 *
 * Both clocks must agree, because a record is acked on the promise that it gets here: a device whose clock is years slow
 * fills days that are long over, and dropping those by their time alone would lose rows that were stored a minute ago.
 * Rows in the default partition are never dropped.
 */
import type { Session } from '../../shared/database.js';
import type { Logger } from '../../shared/log.js';
import { inTransaction } from './schema.js';

/** A day's table: a partition or a chunk. */
interface Day {
  readonly table: string;
  readonly from_time: string;
  readonly to_time: string;
}

/** Partitions that end before the cutoff; the default one has no end. */
const PARTITIONS = `
  select c.oid::regclass::text as table, bounds[1] as from_time, bounds[2] as to_time
  from pg_inherits i join pg_class c on c.oid = i.inhrelid,
       regexp_match(pg_get_expr(c.relpartbound, c.oid), 'FROM \\(''(.+)''\\) TO \\(''(.+)''\\)') as bounds
  where i.inhparent = 'telemetry'::regclass and bounds[2]::timestamptz <= $1::timestamptz
  order by bounds[2]::timestamptz`;

const CHUNKS = `
  select format('%I.%I', chunk_schema, chunk_name) as table, range_start::text as from_time, range_end::text as to_time
  from timescaledb_information.chunks
  where hypertable_name = 'telemetry' and hypertable_schema = $2 and range_end <= $1::timestamptz
  order by range_end`;

/**
 * Drops the days that are over by more than `retentionMs`.
 * @returns how many
 */
export async function dropOldDays(session: Session, nowMs: number, retentionMs: number, log: Logger): Promise<number> {
  const cutoff = new Date(nowMs - retentionMs).toISOString();
  const hypertable = await hypertableSchema(session);
  const { rows: days } =
    hypertable === undefined
      ? await session.client.query<Day>(PARTITIONS, [cutoff])
      : await session.client.query<Day>(CHUNKS, [cutoff, hypertable]);
  let dropped = 0;
  for (const day of days) {
    const gone = await inTransaction(session, () => dropDay(session, day, cutoff, hypertable !== undefined));
    log.info({ table: day.table, gone }, gone ? 'a day is over and dropped' : 'a day is over but has late rows: kept');
    if (gone) dropped++;
  }
  return dropped;
}

/** The schema of the hypertable `telemetry`; undefined: it is partitioned. */
export async function hypertableSchema(session: Session): Promise<string | undefined> {
  const { rows } = await session.client.query<{ partitioned: boolean; schema: string }>(`
    select relkind = 'p' as partitioned, relnamespace::regnamespace::text as schema
    from pg_class where oid = 'telemetry'::regclass`);
  return rows[0]?.partitioned === false ? rows[0].schema : undefined;
}

/** Writers of this one day wait while it is searched, so that no row slips in between; readers do not. */
async function dropDay(session: Session, day: Day, cutoff: string, hypertable: boolean): Promise<boolean> {
  const { client } = session;
  await client.query(`lock table ${day.table} in share mode`);
  const { rows } = await client.query<{ late: boolean }>(
    `select exists (select from ${day.table} where received >= $1) as late`,
    [cutoff],
  );
  if (rows[0]?.late !== false) return false;
  if (hypertable) {
    const sql = "select drop_chunks('telemetry', older_than => $2::timestamptz, newer_than => $1::timestamptz)";
    await client.query(sql, [day.from_time, day.to_time]);
  } else {
    await client.query(`drop table ${day.table}`);
  }
  return true;
}
