/**
 * `holdfast queue rewind CONSUMER --to …`: has storage or shadow read again what the router still holds.
 *
 * A consumer goes by its own durable position, not by the cursor that the router keeps for it. So a rewind sets that position back
 * while the consumer is stopped (ConsumerPosition: storage's is in its database, shadow's in its store); it reads on from there
 * when it starts. The router's cursor stays where it is, ahead: the router releases through the least cursor, and a consumer's acks
 * behind its cursor move nothing, so while the consumer catches up with its cursor nothing more is released and nothing that it is
 * to read again is deleted.
 *
 * Reading again is harmless: rows have a key, and what a shadow holds has the times of what was said. A rewind can only go back,
 * and only as far as batches are there (ROUTER_RETAIN): where some are gone it is refused, unless the operator says that the rest is
 * wanted.
 *
 * The consumer must be stopped: it would meet a position that it did not set, take that for another of its kind, and end (its
 * fence). That keeps its rows or things right in any case; asking first keeps an operator from being surprised.
 */
import { HoldfastError } from '../../shared/errors.js';
import { comparePositions, formatPosition, type Position } from '../../shared/position.js';
import { RouterLog } from './router-log.js';

/** Where a consumer keeps its position, open for a rewind. */
export interface ConsumerPosition {
  /** The position in a queue; undefined: it has never read it. */
  read(queueId: string): Promise<Position | undefined>;
  /** Sets it back, durably. @throws HoldfastError fenced where it is not at `from` any more */
  moveBack(queueId: string, from: Position, to: Position): Promise<void>;
  close(): Promise<void>;
}

export interface RewindOptions {
  /** As in ROUTER_CONSUMERS. */
  readonly consumer: string;
  readonly to: Position | Date;
  /** The router's consumer endpoint. */
  readonly router: string;
  /** @throws HoldfastError with retry where the consumer is at work, or where its position is kept is away */
  readonly open: () => Promise<ConsumerPosition>;
  /** True: also where batches between the position and the consumer's own are gone. */
  readonly partial: boolean;
}

export interface Rewind {
  readonly consumer: string;
  readonly queueId: string;
  /** The consumer's position before. */
  readonly from: string;
  /** And now: it reads what comes after. */
  readonly to: string;
  /** The first batch that it will read; undefined: there is none. */
  readonly first: string | undefined;
  /** The router's head. */
  readonly head: string;
}

/**
 * Sets a consumer's position back.
 * @throws HoldfastError fenced where the position is not behind its own, or batches are gone; link_closed, not_registered of the
 *   router; what `open` throws
 */
export async function rewind(options: RewindOptions): Promise<Rewind> {
  // Before the router is asked: that would take the place of a consumer that is at work.
  const position = await options.open();
  try {
    const router = await RouterLog.attach(options.router, options.consumer);
    try {
      return await moveBack(position, router, options);
    } finally {
      router.close();
    }
  } finally {
    await position.close();
  }
}

/** A rewind as lines for people. */
export function describeRewind({ consumer, queueId, from, to, first, head }: Rewind): string {
  return [
    `${consumer} goes on after ${to} in queue ${queueId}; it was at ${from}`,
    `the first batch that it reads is ${first ?? 'none'}, the head is ${head}`,
    `start ${consumer}: what it has already is not stored twice\n`,
  ].join('\n');
}

async function moveBack(
  position: ConsumerPosition,
  router: RouterLog,
  { consumer, to, partial }: RewindOptions,
): Promise<Rewind> {
  const { queueId, head } = router.attached;
  const target = to instanceof Date ? await router.positionBefore(to.getTime()) : to;
  const first = await router.firstAfter(target);
  const from = await position.read(queueId);
  if (from === undefined) {
    const message = `${consumer} has never read queue ${queueId}: it starts at its beginning anyway`;
    throw new HoldfastError('fenced', message, false);
  }
  if (comparePositions(target, from) >= 0) {
    const at = `${formatPosition(target)} is not before ${formatPosition(from)}, where ${consumer} is`;
    throw new HoldfastError('fenced', `${at}: a rewind goes back; going forward would leave records out`, false);
  }
  const isGone = first !== undefined && first.position.offset > target.offset + 1;
  if (isGone && !partial) {
    const gone = first.position.offset - target.offset - 1;
    const message = `${gone} batches after ${formatPosition(target)} are not there any more (ROUTER_RETAIN)`;
    const advice = `the first that is there is ${formatPosition(first.position)}; say --partial to read from there`;
    throw new HoldfastError('fenced', `${message}; ${advice}`, false);
  }
  await position.moveBack(queueId, from, target);
  return {
    consumer,
    queueId,
    from: formatPosition(from),
    to: formatPosition(target),
    first: first && formatPosition(first.position),
    head: formatPosition(head),
  };
}
