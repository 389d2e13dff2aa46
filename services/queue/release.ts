/**
 * `holdfast queue release` and `drop`: what an operator decides to lose. Both need the queue's lock and a plain yes.
 *
 * release marks batches as needed no more, as a next hop's ack would; their bytes stay until a service opens the queue. drop
 * removes the queue's own files, queue.json first: a drop that is cut off leaves what still opens as the queue it was, and never
 * a marker without its data, which every service refuses.
 */
import { readdirSync, rmdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { HoldfastError } from '../../shared/errors.js';
import { comparePositions, formatPosition, START, type Position } from '../../shared/position.js';
import type { QueueReader } from '../../shared/queue/reader.js';
import { openLocked, openToChange } from './opening.js';
import { allKeys } from './walk.js';

export interface Removal {
  readonly path: string;
  readonly queueId: string | undefined;
  /** False: it only says what it would do. */
  readonly done: boolean;
  readonly releasedBefore: string;
  /** Through where it is released then; undefined: the queue is dropped as a whole. */
  readonly through: string | undefined;
  /** What nobody has acked, and is given up. */
  readonly lost: { readonly batches: number; readonly records: number; readonly bytes: number };
  /** Consumers (of a router's queue) that have not acked all of it. */
  readonly consumersBehind: readonly string[];
}

/**
 * Releases a queue through a position.
 * @param yes false: nothing is changed
 * @throws HoldfastError queue_unreadable, queue_locked; fenced where the position is after the queue's head
 */
export async function releaseQueue(path: string, through: Position, yes: boolean): Promise<Removal> {
  const removal = await examine(path, through, yes);
  if (!yes) return removal;
  const { queue, reader } = openToChange(path);
  try {
    queue.release(through);
  } finally {
    await reader.close();
    await queue.close();
  }
  return removal;
}

/**
 * Removes a queue and its directory, where nothing else lies in it.
 * @param yes false: nothing is changed
 * @throws HoldfastError queue_unreadable, queue_locked
 */
export async function dropQueue(path: string, yes: boolean): Promise<Removal> {
  const { reader, lock } = openLocked(path);
  let removal: Removal;
  try {
    removal = examineReader(path, reader, undefined, yes);
    await reader.close();
    if (yes) removeFiles(path);
  } finally {
    lock.release();
  }
  return removal;
}

/** A removal as lines for people. */
export function describeRemoval(removal: Removal): string {
  const { path, done, lost, through, consumersBehind } = removal;
  const amount = `${lost.records} records in ${lost.batches} batches, ${lost.bytes} bytes, that nobody has acked`;
  const verb = through === undefined ? ['dropped', 'would drop'] : ['released', 'would release'];
  const extent =
    through === undefined ? path : `${path} through ${through} (it was released through ${removal.releasedBefore})`;
  const lines = [`${done ? verb[0] : verb[1]} ${extent}: ${amount}`];
  if (consumersBehind.length > 0) lines.push(`consumers that have not acked all of it: ${consumersBehind.join(', ')}`);
  if (!done) lines.push('nothing was changed: say --yes');
  return `${lines.join('\n')}\n`;
}

async function examine(path: string, through: Position, done: boolean): Promise<Removal> {
  const { reader, lock } = openLocked(path);
  try {
    const { head } = reader;
    if (comparePositions(through, head) > 0) {
      const message = `${formatPosition(through)} is after the head ${formatPosition(head)} of the queue in ${path}`;
      throw new HoldfastError('fenced', `${message}; release it through its head at most`, false);
    }
    return examineReader(path, reader, through, done);
  } finally {
    await reader.close();
    lock.release();
  }
}

function examineReader(path: string, reader: QueueReader, through: Position | undefined, done: boolean): Removal {
  const released = reader.position('released') ?? START;
  const end = through ?? reader.head;
  const lost = { batches: 0, records: 0, bytes: 0 };
  for (const { position, records, bytes } of allKeys(reader, released)) {
    if (comparePositions(position, end) > 0) break;
    lost.batches++;
    lost.records += records;
    lost.bytes += bytes;
  }
  const behind = [...reader.positions('cursor/')].filter(([, cursor]) => comparePositions(cursor, end) < 0);
  return {
    path,
    queueId: reader.id,
    done,
    releasedBefore: formatPosition(released),
    through: through && formatPosition(through),
    lost,
    consumersBehind: behind.map(([name]) => name),
  };
}

function removeFiles(path: string): void {
  for (const name of ['queue.json', 'data.mdb', 'lock.mdb']) rmSync(join(path, name), { force: true });
  rmSync(join(path, 'quarantine'), { recursive: true, force: true });
  if (readdirSync(path).length === 0) rmdirSync(path);
}
