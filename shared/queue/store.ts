/**
 * The LMDB environment of a queue: one directory with
 *
 *   data.mdb lock.mdb   LMDB; databases `batches` (key.ts → batch), `meta` (positions.ts; and the id) and
                       `fence` (fence.ts)
 *   queue.json          the queue's id again, written after the environment's first commit
 *   quarantine/         values that failed their checksum
 *
 * queue.json is there so that a lost or emptied data.mdb is an error: LMDB by itself would make a new, empty environment,
 * which is the one thing a durable queue must never turn into. What else could be wrong with data.mdb is looked for before
 * LMDB opens it (check-file.ts).
 *
 * Two writers would mix their batches: lock.ts keeps the second one out, and fence.ts stops the first one where a lock does
 * not reach.
 *
 * overlappingSync is off: lmdb-js would otherwise show a commit to readers before it is on disk, and a monitor could
 * forward an offset that a power cut takes back. The map has a fixed size well over the quota, so that it never moves
 * under a reader in another thread.
 */
import { randomUUID } from 'node:crypto';
import { closeSync, existsSync, fsyncSync, openSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { open, type Database, type RootDatabase } from 'lmdb';
import { HoldfastError, messageOf } from '../errors.js';
import { checkFile } from './check-file.js';
import { Lock, lockedError } from './lock.js';

export interface Store {
  readonly root: RootDatabase<Buffer, Buffer>;
  readonly batches: Database<Buffer, Buffer>;
  readonly meta: Database<Buffer, string>;
}

/** 'inspect' reads too, of a file that nobody writes to while it is opened; 'read' is for a thread of the writer's process. */
export type StoreMode = 'write' | 'read' | 'inspect';

/** What LMDB may take on top of the quota for pages that are free but scattered, and for its own tree. */
const MAP_SLACK_BYTES = 2 ** 30;
/** A reader of another process needs a map as large as the file; one of this process shares the writer's. */
const READ_MAP_BYTES = 2 ** 40;

export const DATA_FILE = 'data.mdb';
const MARKER_FILE = 'queue.json';
const CAUSE_TIMEOUT_MS = 1_000;

/**
 * Opens the environment in `path`; modes 'write' and 'inspect' need the directory's Lock; 'write' makes it where there is
 * none.
 * @throws HoldfastError queue_unreadable where there is something that is not a whole queue; queue_locked where somebody
 *   writes to it all the same
 */
export function openStore(path: string, mode: StoreMode, quotaBytes: number): Store {
  const data = join(path, DATA_FILE);
  const marker = join(path, MARKER_FILE);
  const empty = !existsSync(data) || statSync(data).size === 0;
  if (empty && existsSync(marker))
    throw unreadable(path, `${MARKER_FILE} is there but ${DATA_FILE} is missing or empty`);
  if (empty && mode !== 'write') throw unreadable(path, `there is no ${DATA_FILE}`);
  // Under a live writer pages change while they are read: what it has open, it has checked.
  const result = empty || (mode === 'read' && Lock.isTaken(path)) ? undefined : checkFile(data);
  if (mode === 'write' && result === 'written') throw lockedError(path);
  if (typeof result === 'object') throw unreadable(path, `${DATA_FILE} is damaged: ${result.problem}`);
  try {
    const root = open<Buffer, Buffer>({
      path,
      // Said, because lmdb-js takes a path with a dot in its last name for that of a file.
      noSubdir: false,
      encoding: 'binary',
      keyEncoding: 'binary',
      overlappingSync: false,
      eventTurnBatching: false,
      mapSize: mode === 'write' ? 2 * quotaBytes + MAP_SLACK_BYTES : READ_MAP_BYTES,
      maxDbs: 3,
      readOnly: mode !== 'write',
    });
    const batches = root.openDB<Buffer, Buffer>('batches', { encoding: 'binary', keyEncoding: 'binary' });
    const meta = root.openDB<Buffer, string>('meta', { encoding: 'binary', keyEncoding: 'ordered-binary' });
    return { root, batches, meta };
  } catch (error) {
    throw unreadable(path, messageOf(error), error);
  }
}

/**
 * Reads the queue's id, or gives a queue that has none its id, durably.
 * @throws HoldfastError queue_unreadable where the environment and queue.json name different queues
 */
export function establishId(path: string, store: Store): string {
  const marker = join(path, MARKER_FILE);
  const marked = existsSync(marker) ? (JSON.parse(readFileSync(marker, 'utf8')) as { id: string }).id : undefined;
  const stored = store.meta.get('id')?.toString('latin1');
  if (marked !== undefined && marked !== stored) {
    throw unreadable(path, `${MARKER_FILE} names queue ${marked}, ${DATA_FILE} holds ${stored ?? 'none'}`);
  }
  const id = stored ?? randomUUID();
  if (stored === undefined) store.meta.putSync('id', Buffer.from(id, 'latin1'));
  if (marked === undefined) {
    writeFileSync(marker, `${JSON.stringify({ id })}\n`, { flush: true });
    syncDirectory(path);
    syncDirectory(dirname(path));
  }
  return id;
}

/** Makes the names in a directory durable: a new file's own fsync does not. */
export function syncDirectory(path: string): void {
  const descriptor = openSync(path, 'r');
  try {
    fsyncSync(descriptor);
  } finally {
    closeSync(descriptor);
  }
}

/** What LMDB said of a commit that failed: lmdb-js hides it in a promise that rejects with it. */
export async function causeOfFailure(error: unknown): Promise<unknown> {
  if (!(error instanceof Error && 'commitError' in error)) return error;
  const unsaid = sleep(CAUSE_TIMEOUT_MS, error, { ref: false });
  return Promise.race([Promise.resolve(error.commitError).catch((reason: unknown) => reason), unsaid]);
}

/** The error for a directory that holds no whole queue. */
export function unreadable(path: string, what: string, cause?: unknown): HoldfastError {
  const advice = 'restore the directory from a copy, or move it away to start with an empty queue';
  return new HoldfastError(
    'queue_unreadable',
    `the queue in ${path} cannot be opened: ${what}; ${advice}`,
    false,
    cause,
  );
}
