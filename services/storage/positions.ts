/**
 * How far storage has got in each queue: its rows of `consumer_positions`, which change only in the transaction that holds
 * the rows of telemetry, and only from the position that this process knows (the fence). Whoever finds another position
 * there is not the only writer, and must stop.
 */
import { Session } from '../../shared/database.js';
import { HoldfastError } from '../../shared/errors.js';
import type { Logger } from '../../shared/log.js';
import { START, comparePositions, formatPosition, type Position } from '../../shared/position.js';
import { inTransaction, migrate, type SchemaOptions } from './schema.js';

export const CONSUMER = 'storage';
const TIMEOUT_MS = 60_000;

export interface PositionsOptions extends SchemaOptions {
  readonly url: string;
  readonly log: Logger;
}

export class Positions {
  readonly #known = new Map<string, Position>();

  constructor(private readonly options: PositionsOptions) {}

  /** The last position of a queue that is known to be stored; undefined before the queue was resumed. */
  known(queueId: string): Position | undefined {
    return this.#known.get(queueId);
  }

  /**
   * Where to go on in a queue. Waits for the COMMIT of a dying predecessor, which still has the row locked.
   * @param cursor the router's own mark of how far storage has acked
   * @throws HoldfastError database (retry) while the database is away
   */
  async resume(queueId: string, cursor: Position): Promise<Position> {
    const session = await Session.open(this.options.url, 'holdfast storage position');
    try {
      const position = await session.within(TIMEOUT_MS, this.#readOrCreate(session, queueId));
      if (comparePositions(cursor, position) > 0) {
        const at = { queueId, cursor: formatPosition(cursor), stored: formatPosition(position) };
        this.options.log.warn(
          at,
          'this database is behind what it had acked (rewound, restored or replaced): what the router retains is read again',
        );
      }
      if (!this.#known.has(queueId)) this.#known.set(queueId, position);
      return position;
    } catch (error) {
      session.destroy();
      throw error;
    } finally {
      await session.close();
    }
  }

  /**
   * Moves the position within the transaction under way; other writers of this queue wait for its end.
   * @param inDoubt true where a COMMIT of the same move went unanswered
   * @returns false where that COMMIT had succeeded
   * @throws HoldfastError fenced where another writer has moved it
   */
  async move(session: Session, queueId: string, through: Position, inDoubt: boolean): Promise<boolean> {
    const from = this.#known.get(queueId) ?? START;
    const { rowCount } = await session.client.query(
      `update consumer_positions set epoch = $1, "offset" = $2
       where queue_id = $3 and consumer = $4 and epoch = $5 and "offset" = $6`,
      [through.epoch, through.offset, queueId, CONSUMER, from.epoch, from.offset],
    );
    if (rowCount === 1) return true;
    const found = await readPosition(session, queueId);
    if (inDoubt && found !== undefined && comparePositions(found, through) === 0) return false;
    const what = found === undefined ? 'has no position any more' : `is at ${formatPosition(found)}`;
    throw new HoldfastError(
      'fenced',
      `queue ${queueId} ${what}, not at ${formatPosition(from)}: another storage writes to this database; stop one of them`,
      false,
    );
  }

  /** Says that the transaction which moved the position is committed. */
  committed(queueId: string, through: Position): void {
    this.#known.set(queueId, through);
  }

  async #readOrCreate(session: Session, queueId: string): Promise<Position> {
    await migrate(session, this.options);
    return inTransaction(session, async () => {
      await session.client.query(
        `insert into consumer_positions (queue_id, consumer, epoch, "offset") values ($1, $2, $3, $4)
         on conflict do nothing`,
        [queueId, CONSUMER, START.epoch, START.offset],
      );
      const position = await readPosition(session, queueId);
      if (position === undefined) throw new HoldfastError('database', 'the position was just deleted', true);
      return position;
    });
  }
}

/** Reads and locks the row: a transaction that has changed it is waited for. */
async function readPosition(session: Session, queueId: string): Promise<Position | undefined> {
  const { rows } = await session.client.query<{ epoch: string; offset: string }>(
    'select epoch, "offset" from consumer_positions where queue_id = $1 and consumer = $2 for update',
    [queueId, CONSUMER],
  );
  const row = rows[0];
  return row === undefined ? undefined : { epoch: Number(row.epoch), offset: Number(row.offset) };
}
