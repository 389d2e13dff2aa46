/**
 * `telemetry` partitioned by day, where there is no TimescaleDB: days are made ahead, and for a while back, for devices
 * that were away; every other day's rows are in the default partition.
 *
 * A day whose rows already sit in the default partition (devices with a fast clock) is made by moving them: the default
 * partition is locked, the rows are moved to a new table, and the table is attached, in one transaction. Attached, not
 * created as a partition: CREATE TABLE … PARTITION OF would lock out all readers and writers of `telemetry`.
 */
import type { Session } from '../../shared/database.js';
import type { Logger } from '../../shared/log.js';
import { inTransaction } from './schema.js';

const DAY_MS = 86_400_000;
const DAYS_BACK = 7;
const DAYS_AHEAD = 3;

/**
 * Held by whoever changes partitions, shared by the slow path of storing: a row that is being inserted while its day is
 * attached is refused (23514), and must not be taken for bad data.
 */
export const PARTITIONS_LOCK = 5_208_150_117;

/** Makes the days around `nowMs` that are missing. */
export async function makeDays(session: Session, nowMs: number, log: Logger): Promise<void> {
  const today = Math.floor(nowMs / DAY_MS);
  for (let day = today - DAYS_BACK; day <= today + DAYS_AHEAD; day++) {
    const name = partitionName(day);
    const { rows } = await session.client.query<{ there: boolean }>('select to_regclass($1) is not null as there', [
      name,
    ]);
    if (rows[0]?.there === true) continue;
    const moved = await inTransaction(session, () => makeDay(session, day));
    log.info({ partition: name, moved }, 'a day has its partition');
  }
}

/** `telemetry_20261120`, by UTC. */
export function partitionName(day: number): string {
  return `telemetry_${new Date(day * DAY_MS).toISOString().slice(0, 10).replaceAll('-', '')}`;
}

/** @returns how many rows it had in the default partition */
async function makeDay(session: Session, day: number): Promise<number> {
  const name = partitionName(day);
  const from = new Date(day * DAY_MS).toISOString();
  const to = new Date((day + 1) * DAY_MS).toISOString();
  const { client } = session;
  await client.query('select pg_advisory_xact_lock($1)', [PARTITIONS_LOCK]);
  await client.query('lock table telemetry_default in access exclusive mode');
  await client.query(
    `create table ${name} (like telemetry including defaults including constraints including indexes)`,
  );
  const { rowCount } = await client.query(
    `with moved as (delete from telemetry_default where time >= $1 and time < $2 returning *)
     insert into ${name} select * from moved`,
    [from, to],
  );
  await client.query(`alter table telemetry attach partition ${name} for values from ('${from}') to ('${to}')`);
  return rowCount ?? 0;
}
