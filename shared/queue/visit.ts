/**
 * Opening a queue from another process than its writer's.
 *
 * LMDB, as lmdb-js has it (3.5.6), writes what it takes for the last transaction's number into the memory that all processes
 * share whenever a file is opened (mdb_env_open2), also for reading only. A commit of another process in that moment is forgotten
 * there: the next one builds on what was before it, and an acked batch is gone. So a visitor asks the writer, through its lock,
 * and with the key that lies in the queue's directory, to commit nothing while it opens; and where there is no writer it takes
 * the lock itself. Reading later needs nothing of this.
 *
 * The test opens a queue slowly beside a writer, again and again, and finds every batch.
 */
import { existsSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { HoldfastError } from '../errors.js';
import { Lock, VISIT_MS } from './lock.js';
import { QueueReader } from './reader.js';
import { DATA_FILE, unreadable } from './store.js';
import { readVisitorKey } from './visitor-key.js';

/** How long a writer that is just opening or closing its queue is waited for. */
const DEADLINE_MS = 15_000;
const RETRY_MS = 20;
/** An open that takes longer may have outlived the writer's patience. */
const MAX_OPEN_MS = VISIT_MS / 2;

/**
 * Opens a queue for reading only, whether or not another process writes to it.
 * @throws HoldfastError queue_unreadable; queue_locked where its writer does not answer
 */
export async function visitQueue(path: string): Promise<QueueReader> {
  if (!existsSync(join(path, DATA_FILE))) throw unreadable(path, `there is no ${DATA_FILE}`);
  if (process.platform !== 'linux') return QueueReader.open(path, 'inspect');
  const deadlineMs = performance.now() + DEADLINE_MS;
  while (performance.now() < deadlineMs) {
    const reader = (await openBesideWriter(path)) ?? openAlone(path);
    if (reader !== undefined) return reader;
    await sleep(RETRY_MS);
  }
  throw new HoldfastError('queue_locked', `the writer of the queue in ${path} does not answer; try again`, true);
}

/** @returns undefined where there is no writer that answers */
async function openBesideWriter(path: string): Promise<QueueReader | undefined> {
  const writer = await stillWriter(path);
  if (writer === undefined) return undefined;
  const startedMs = performance.now();
  try {
    const reader = QueueReader.open(path);
    if (performance.now() - startedMs <= MAX_OPEN_MS) return reader;
    await reader.close();
    const message = `opening the queue in ${path} took over ${MAX_OPEN_MS} ms; the machine is too busy to do it beside a writer`;
    throw new HoldfastError('queue_locked', message, true);
  } finally {
    writer.destroy();
  }
}

/** A connection to the writer, which commits nothing until it is destroyed; undefined: there is none, or not yet. */
function stillWriter(path: string): Promise<Socket | undefined> {
  const key = readVisitorKey(path);
  if (key === undefined) return Promise.resolve(undefined);
  return new Promise((resolve) => {
    const socket = connect({ path: Lock.nameOf(path) });
    socket.write(key);
    socket.setTimeout(VISIT_MS, () => socket.destroy());
    socket.once('data', () => resolve(socket));
    // Nobody listens, or whoever does has no time for visitors yet: the close says both.
    socket.on('error', () => undefined);
    socket.once('close', () => resolve(undefined));
  });
}

/** @returns undefined where a writer has come meanwhile */
function openAlone(path: string): QueueReader | undefined {
  let lock: Lock;
  try {
    lock = Lock.take(path);
  } catch (error) {
    if (error instanceof HoldfastError && error.code === 'queue_locked') return undefined;
    throw error;
  }
  try {
    return QueueReader.open(path, 'inspect');
  } finally {
    lock.release();
  }
}
