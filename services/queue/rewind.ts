/**
 * `holdfast queue rewind storage --to …`: has storage read again what the router still holds.
 *
 * Storage goes by its own durable position, the row of consumer_positions, and not by the cursor that the router keeps for it. So
 * a rewind is one UPDATE of that row while storage is stopped; it reads on from there when it starts. The router's cursor stays
 * where it is, ahead: the router releases through the least cursor, and a consumer's acks behind its cursor move nothing, so while
 * storage catches up with its cursor nothing more is released and nothing that it is to read again is deleted.
 *
 * Rows have a key, so reading again stores no record twice. A rewind can only go back, and only as far as batches are there
 * (ROUTER_RETAIN): where some are gone it is refused, unless the operator says that the rest is wanted.
 *
 * Storage must be stopped: it would meet a position that it did not set, take that for another storage, and end (its fence). That
 * keeps the rows right in any case; asking first keeps an operator from being surprised.
 */
import { describeDatabaseError, Session } from '../../shared/database.js';
import { HoldfastError } from '../../shared/errors.js';
import { comparePositions, formatPosition, START, type Position } from '../../shared/position.js';
import { RouterLog } from './router-log.js';

export interface RewindOptions {
  readonly consumer: string;
  readonly to: Position | Date;
  /** The router's consumer endpoint. */
  readonly router: string;
  /** The database that storage writes to. */
  readonly database: string;
  /** True: also where batches between the position and storage's own are gone. */
  readonly partial: boolean;
}

export interface Rewind {
  readonly consumer: string;
  readonly queueId: string;
  /** Storage's position before. */
  readonly from: string;
  /** And now: it reads what comes after. */
  readonly to: string;
  /** The first batch that it will read; undefined: there is none. */
  readonly first: string | undefined;
  /** The router's head. */
  readonly head: string;
}

const CONSUMER = 'storage';
/** What a storage that is at work calls its connection. */
const WRITER = 'holdfast storage%';

/**
 * Sets storage's position back.
 * @throws HoldfastError bad_config where the consumer cannot be rewound; fenced where storage is at work, the position is not
 *   behind its own, or batches are gone; link_closed, not_registered of the router; database (retry)
 */
export async function rewind(options: RewindOptions): Promise<Rewind> {
  if (options.consumer !== CONSUMER) throw notRewindable(options.consumer);
  const session = await Session.open(options.database, 'holdfast queue rewind');
  try {
    // Before the router is asked: that would take the place of a storage that is at work.
    await refuseAtWork(session);
    const router = await RouterLog.attach(options.router, CONSUMER);
    try {
      return await moveBack(session, router, options);
    } finally {
      router.close();
    }
  } catch (error) {
    if (error instanceof HoldfastError) throw error;
    throw new HoldfastError('database', `the position cannot be set: ${describeDatabaseError(error)}`, true, error);
  } finally {
    await session.close();
  }
}

/** A rewind as lines for people. */
export function describeRewind(result: Rewind): string {
  const { consumer, queueId, from, to, first, head } = result;
  return [
    `${consumer} goes on after ${to} in queue ${queueId}; it was at ${from}`,
    `the first batch that it reads is ${first ?? 'none'}, the head is ${head}`,
    `start ${consumer}: rows that are there already are not stored again\n`,
  ].join('\n');
}

async function moveBack(session: Session, router: RouterLog, { to, partial }: RewindOptions): Promise<Rewind> {
  const { queueId, head } = router.attached;
  const target = to instanceof Date ? await router.positionBefore(to.getTime()) : to;
  const first = await router.firstAfter(target);
  await session.client.query('begin');
  const from = await readPosition(session, queueId);
  if (from === undefined) {
    throw new HoldfastError(
      'fenced',
      `storage has never read queue ${queueId}: it starts at its beginning anyway`,
      false,
    );
  }
  if (comparePositions(target, from) >= 0) {
    const at = `${formatPosition(target)} is not before ${formatPosition(from)}, where storage is`;
    throw new HoldfastError('fenced', `${at}: a rewind goes back; going forward would leave records out`, false);
  }
  const isGone = first !== undefined && first.position.offset > target.offset + 1;
  if (isGone && !partial) {
    const gone = first.position.offset - target.offset - 1;
    const message = `${gone} batches after ${formatPosition(target)} are not there any more (ROUTER_RETAIN)`;
    const advice = `the first that is there is ${formatPosition(first.position)}; say --partial to read from there`;
    throw new HoldfastError('fenced', `${message}; ${advice}`, false);
  }
  await session.client.query(
    'update consumer_positions set epoch = $1, "offset" = $2 where queue_id = $3 and consumer = $4',
    [target.epoch, target.offset, queueId, CONSUMER],
  );
  await session.client.query('commit');
  return {
    consumer: CONSUMER,
    queueId,
    from: formatPosition(from),
    to: formatPosition(target),
    first: first && formatPosition(first.position),
    head: formatPosition(head),
  };
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

/** Reads and locks the row. */
async function readPosition(session: Session, queueId: string): Promise<Position | undefined> {
  const { rows } = await session.client.query<{ epoch: string; offset: string }>(
    'select epoch, "offset" from consumer_positions where queue_id = $1 and consumer = $2 for update',
    [queueId, CONSUMER],
  );
  const row = rows[0];
  if (row === undefined) return undefined;
  const position = { epoch: Number(row.epoch), offset: Number(row.offset) };
  // Just made, or nothing read yet.
  return comparePositions(position, START) === 0 ? undefined : position;
}

function notRewindable(consumer: string): HoldfastError {
  const shadow =
    'shadow cannot be rewound: its position is part of its store and moves only with the documents, which hold what was applied';
  const other = `${JSON.stringify(consumer)} cannot be rewound: only storage can`;
  return new HoldfastError('bad_config', consumer === 'shadow' ? shadow : other, false);
}
