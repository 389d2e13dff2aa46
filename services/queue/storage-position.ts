/** Storage's position: its row of consumer_positions, set back by one UPDATE from what it was read as. */
import { describeDatabaseError, Session } from '../../shared/database.js';
import { HoldfastError } from '../../shared/errors.js';
import { comparePositions, formatPosition, START, type Position } from '../../shared/position.js';
import type { ConsumerPosition } from './rewind.js';

const CONSUMER = 'storage';
/** What a storage that is at work calls its connection. */
const WRITER = 'holdfast storage%';

interface Row {
  readonly epoch: string;
  readonly offset: string;
}

/**
 * Opens storage's position.
 * @param url the database that storage writes to
 * @throws HoldfastError fenced (retry) where storage is at work; database (retry)
 */
export async function openStoragePosition(url: string): Promise<ConsumerPosition> {
  const session = await Session.open(url, 'holdfast queue rewind');
  const { client } = session;
  try {
    await within(refuseAtWork(session));
  } catch (error) {
    await session.close();
    throw error;
  }
  return {
    read: (queueId) => within(readPosition(session, queueId)),
    moveBack: async (queueId, from, to) => {
      const { rowCount } = await within(
        client.query(
          `update consumer_positions set epoch = $1, "offset" = $2
           where queue_id = $3 and consumer = $4 and epoch = $5 and "offset" = $6`,
          [to.epoch, to.offset, queueId, CONSUMER, from.epoch, from.offset],
        ),
      );
      if (rowCount === 1) return;
      const message = `storage is not at ${formatPosition(from)} any more: it is at work; stop it, and rewind again`;
      throw new HoldfastError('fenced', message, true);
    },
    close: () => session.close(),
  };
}

async function within<T>(work: Promise<T>): Promise<T> {
  try {
    return await work;
  } catch (error) {
    if (error instanceof HoldfastError) throw error;
    throw new HoldfastError('database', `the position cannot be set: ${describeDatabaseError(error)}`, true, error);
  }
}

async function refuseAtWork(session: Session): Promise<void> {
  const { rows } = await session.client.query<{ count: number }>(
    'select count(*)::int as count from pg_stat_activity where datname = current_database() and application_name like $1',
    [WRITER],
  );
  if (rows[0]!.count === 0) return;
  const message = 'storage is connected to its database: stop it first, rewind, and start it again';
  throw new HoldfastError('fenced', message, true);
}

async function readPosition(session: Session, queueId: string): Promise<Position | undefined> {
  const { rows } = await session.client.query<Row>(
    'select epoch, "offset" from consumer_positions where queue_id = $1 and consumer = $2',
    [queueId, CONSUMER],
  );
  const row = rows[0];
  if (row === undefined) return undefined;
  const position = { epoch: Number(row.epoch), offset: Number(row.offset) };
  // Just made, or nothing read yet.
  return comparePositions(position, START) === 0 ? undefined : position;
}
