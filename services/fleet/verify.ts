/**
 * What was acked, looked for in the database: every record of the ledger has to be in table telemetry, once.
 *
 * Lost: acked and not there. Twice: a row beyond the first of one device and seq; the table's key allows that only with
 * another time. Records that were never acked may be there (their ack was lost) or not; neither is a fault. Storage lags
 * behind the edge, so it is waited for: first until there are as many rows as acked records, then until none is missing.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { Session } from '../../shared/database.js';
import { ackedRecords, type Ledger } from './ledger.js';

export interface VerifyOptions {
  readonly url: string;
  readonly run: string;
  /** Between these the fleet's records have their times, ms since 1970. */
  readonly fromMs: number;
  readonly throughMs: number;
  /** How long storage may take to have everything. */
  readonly waitMs: number;
}

export interface Verification {
  readonly acked: number;
  /** Rows of the fleet's devices. */
  readonly rows: number;
  readonly lost: number;
  readonly twice: number;
  /** Some devices that miss records, or have them twice, for whoever looks into it. */
  readonly examples: readonly string[];
  /** Until storage had everything, or until that was given up. */
  readonly waitedMs: number;
}

const POLL_MS = 1_000;
const QUERY_TIMEOUT_MS = 120_000;
const EXAMPLES = 10;

/** $1 pattern of the ids, $2 and $3 bounds of the times, ms. */
const MINE = `device_id like $1 and time between to_timestamp($2 / 1000.0) and to_timestamp($3 / 1000.0)`;
const COUNT = `select count(*)::float8 as rows from telemetry where ${MINE}`;
const CHECK = `
  with stored as (
    select device_id, seq, count(*) as copies from telemetry where ${MINE} group by device_id, seq
  ), acked as (
    select device_id, first, last
    from unnest($4::text[], $5::bigint[], $6::bigint[]) as ranges (device_id, first, last)
  ), found as (
    select acked.device_id, acked.first, count(*) as there
    from acked join stored on stored.device_id = acked.device_id and stored.seq between acked.first and acked.last
    group by acked.device_id, acked.first
  ), faults as (
    select device_id, last - first + 1 - coalesce(there, 0) as lost, 0 as twice
    from acked left join found using (device_id, first)
    union all
    select device_id, 0, copies - 1 from stored where copies > 1
  )
  select device_id, sum(lost)::float8 as lost, sum(twice)::float8 as twice
  from faults group by device_id having sum(lost) > 0 or sum(twice) > 0 order by device_id`;

interface Fault {
  readonly device_id: string;
  readonly lost: number;
  readonly twice: number;
}

/**
 * Looks for what the ledger names, for at most about `waitMs`.
 * @throws HoldfastError database; a DatabaseError where the table cannot be read
 */
export async function verify(ledger: Ledger, options: VerifyOptions): Promise<Verification> {
  const session = await Session.open(options.url, 'holdfast fleet');
  try {
    return await verifyOn(session, ledger, options);
  } finally {
    await session.close();
  }
}

async function verifyOn(session: Session, ledger: Ledger, options: VerifyOptions): Promise<Verification> {
  const startedMs = performance.now();
  const acked = ackedRecords(ledger);
  const mine = [`fleet-${options.run}-%`, options.fromMs, options.throughMs];
  const ranges = [ledger.devices.map((number) => `fleet-${options.run}-${number}`), ledger.firsts, ledger.lasts];
  for (;;) {
    const roundMs = performance.now();
    const rows = await countRows(session, mine);
    const isLast = performance.now() - startedMs >= options.waitMs;
    if (rows >= acked || isLast) {
      const waitedMs = Math.round(performance.now() - startedMs);
      const faults = await query<Fault>(session, CHECK, [...mine, ...ranges]);
      const lost = faults.reduce((sum, fault) => sum + fault.lost, 0);
      const twice = faults.reduce((sum, fault) => sum + fault.twice, 0);
      if (lost === 0 || isLast) return { acked, rows, lost, twice, examples: describe(faults), waitedMs };
    }
    // Storage shares the machine with the counting: it gets most of the time.
    await sleep(Math.max(POLL_MS, 3 * (performance.now() - roundMs)));
  }
}

async function countRows(session: Session, mine: readonly unknown[]): Promise<number> {
  const [counted] = await query<{ rows: number }>(session, COUNT, mine);
  return counted?.rows ?? 0;
}

async function query<R extends object>(session: Session, sql: string, values: readonly unknown[]): Promise<R[]> {
  const { rows } = await session.within(QUERY_TIMEOUT_MS, session.client.query<R>(sql, [...values]));
  return rows;
}

function describe(faults: readonly Fault[]): readonly string[] {
  return faults.slice(0, EXAMPLES).map(({ device_id: device, lost, twice }) => {
    const what = [...(lost > 0 ? [`${lost} lost`] : []), ...(twice > 0 ? [`${twice} twice`] : [])];
    return `${device}: ${what.join(', ')}`;
  });
}
