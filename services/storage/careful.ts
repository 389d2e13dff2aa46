/**
 * The slow path of storing, for a merge that a plain COPY has failed on: rows that are in the table already are left out,
 * rows that PostgreSQL refuses go to dead_letters with the reason, and the rest is stored.
 *
 * Everything is first copied into a staging table with the payload as bytea, which takes any bytes. From there on only
 * statements can fail, not a COPY, so savepoints work: INSERT … SELECT … ON CONFLICT DO NOTHING over all rows, and, where
 * that is refused, over halves, down to the rows that are to blame. So that a flood of garbage does not mean a bisection
 * each, payloads that are plainly not JSON are sorted out before, without asking PostgreSQL (payload.ts).
 *
 * The staging table belongs to the session and empties itself at the end of each transaction.
 */
import { databaseFault, type Session } from '../../shared/database.js';
import { messageOf } from '../../shared/errors.js';
import { copyInto } from './copy.js';
import type { DeadReason } from './metrics.js';
import { PARTITIONS_LOCK } from './partitions.js';
import { refusalOf } from './payload.js';
import { MIN_TIME_MS, type RowEncoder } from './rows.js';

const STATEMENT_MS = 60_000;
const DEAD_PER_INSERT = 1_000;
/** The year 275760, where JavaScript's dates end. */
const MAX_LETTER_TIME_MS = 8.64e15;

const STAGING = `create temp table if not exists staging (
  row int, device_id text, type text, site text, time timestamptz, seq bigint, received timestamptz, data bytea
) on commit delete rows`;
const STAGE = 'copy staging (row, device_id, type, site, time, seq, received, data) from stdin (format binary)';
const STORE = `
  insert into telemetry (time, device_id, seq, received, type, site, data)
  select time, device_id, seq, received, type, site, convert_from(data, 'UTF8')::jsonb from staging
  where row >= $1 and row < $2
  on conflict do nothing`;
const BURY = `
  insert into dead_letters (received, device_id, seq, time, payload, reason)
  select to_timestamp(received / 1000), device_id, seq, to_timestamp(time / 1000), payload, reason
  from unnest($1::float8[], $2::text[], $3::bigint[], $4::float8[], $5::bytea[], $6::text[])
       as letter (received, device_id, seq, time, payload, reason)`;

/** What became of the rows of a merge. */
export interface Outcome {
  readonly stored: number;
  readonly duplicates: number;
  readonly dead: Readonly<Record<DeadReason, number>>;
}

/** Stores the merge that the encoder has taken up, within the transaction under way. */
export async function storeCarefully(session: Session, encoder: RowEncoder): Promise<Outcome> {
  return new CarefulStore(session, encoder).run();
}

class CarefulStore {
  /** Rows for dead_letters, with their reasons. */
  readonly #reasons = new Map<number, string>();
  readonly #dead: Record<DeadReason, number> = { record: 0, payload: 0, database: 0 };
  #stored = 0;

  constructor(
    private readonly session: Session,
    private readonly encoder: RowEncoder,
  ) {}

  async run(): Promise<Outcome> {
    await this.#query('select pg_advisory_xact_lock_shared($1)', [PARTITIONS_LOCK]);
    await this.#query(STAGING);
    for (const { row, record } of this.encoder.records()) {
      const reason = this.encoder.refusal(record, row);
      if (reason !== undefined) this.#refuse(row, reason, 'record');
    }
    await copyInto(this.session, STAGE, this.encoder.chunks('staging', this.#reasons));
    const refused = await this.#store(0, this.encoder.rows);
    if (refused !== undefined) await this.#storeGood();
    await this.#bury();
    const dead = this.#reasons.size;
    return { stored: this.#stored, duplicates: this.encoder.rows - dead - this.#stored, dead: this.#dead };
  }

  #refuse(row: number, reason: string, kind: DeadReason): void {
    this.#reasons.set(row, reason);
    this.#dead[kind]++;
  }

  /** Sorts out what is plainly bad, then bisects the rest. */
  async #storeGood(): Promise<void> {
    const bad: number[] = [];
    for (const { row, record } of this.encoder.records()) {
      const reason = this.#reasons.has(row) ? undefined : refusalOf(record.payload);
      if (reason === undefined) continue;
      this.#refuse(row, reason, 'payload');
      bad.push(row);
    }
    await this.#query('delete from staging where row = any($1)', [bad]);
    await this.#query('create index if not exists staging_row on staging (row)');
    const ranges = [{ from: 0, to: this.encoder.rows }];
    for (let range = ranges.pop(); range !== undefined; range = ranges.pop()) {
      const { from, to } = range;
      const refused = await this.#store(from, to);
      if (refused === undefined) continue;
      if (to - from === 1) {
        this.#refuse(from, refused, 'database');
      } else {
        const middle = (from + to) >>> 1;
        ranges.push({ from: middle, to }, { from, to: middle });
      }
    }
  }

  /** @returns why PostgreSQL refused the rows, none of which is stored then; undefined: they are stored */
  async #store(from: number, to: number): Promise<string | undefined> {
    await this.#query('savepoint rows');
    try {
      this.#stored += await this.#query(STORE, [from, to]);
      await this.#query('release savepoint rows');
      return undefined;
    } catch (error) {
      if (databaseFault(error) !== 'data') throw error;
      await this.#query('rollback to savepoint rows');
      return messageOf(error);
    }
  }

  async #bury(): Promise<void> {
    if (this.#reasons.size === 0) return;
    let letters = new Letters();
    for (const { row, record } of this.encoder.records()) {
      const reason = this.#reasons.get(row);
      if (reason === undefined) continue;
      const { receivedMs, deviceId, seq, timeMs, payload } = record;
      letters.add(receivedMs, deviceId, seq, timeMs, payload, reason);
      if (letters.size < DEAD_PER_INSERT) continue;
      await this.#query(BURY, letters.columns);
      letters = new Letters();
    }
    if (letters.size > 0) await this.#query(BURY, letters.columns);
  }

  async #query(sql: string, values: readonly unknown[] = []): Promise<number> {
    const result = await this.session.within(STATEMENT_MS, this.session.client.query(sql, [...values]));
    return result.rowCount ?? 0;
  }
}

/** Dead letters as columns. What PostgreSQL has no value for is null there; the reason says what it was. */
class Letters {
  readonly #received: (number | null)[] = [];
  readonly #deviceId: string[] = [];
  readonly #seq: (string | null)[] = [];
  readonly #time: (number | null)[] = [];
  readonly #payload: Buffer[] = [];
  readonly #reason: string[] = [];

  get size(): number {
    return this.#reason.length;
  }

  get columns(): readonly unknown[] {
    return [this.#received, this.#deviceId, this.#seq, this.#time, this.#payload, this.#reason];
  }

  add(receivedMs: number, deviceId: string, seq: number, timeMs: number, payload: Buffer, reason: string): void {
    const lost = [
      knownTime(timeMs) === null ? ` (time ${timeMs} ms)` : '',
      knownTime(receivedMs) === null ? ` (received ${receivedMs} ms)` : '',
      Number.isSafeInteger(seq) ? '' : ` (seq ${seq})`,
    ];
    this.#received.push(knownTime(receivedMs));
    this.#deviceId.push(deviceId.replaceAll('\0', '\ufffd'));
    this.#seq.push(Number.isSafeInteger(seq) ? `${seq}` : null);
    this.#time.push(knownTime(timeMs));
    this.#payload.push(payload);
    this.#reason.push(reason.replaceAll('\0', '\ufffd') + lost.join(''));
  }
}

/** The time, or null where PostgreSQL has none for it. Its last years are left out: they do not survive a division. */
function knownTime(timeMs: number): number | null {
  return timeMs >= MIN_TIME_MS && timeMs <= MAX_LETTER_TIME_MS ? timeMs : null;
}
