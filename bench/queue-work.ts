/**
 * The queue at work, a process of its own (queue.ts starts it): put and pop, as an edge does whose router keeps up, on top of a
 * backlog that stays as large as it is.
 *
 * `queue-work.js <path> <rounds> <seconds a window> <seconds of soak>`; it tells `window` for each backlog, round by round, then
 * `slice` for each slice of the soak, then `done`.
 */
import { statSync } from 'node:fs';
import { join } from 'node:path';
import { readBatchHeader } from '../shared/batch.js';
import type { Position } from '../shared/position.js';
import { Queue } from '../shared/queue/queue.js';
import { leaveParent, runAsChild, tell } from './messages.js';
import { fullBatch } from './primed-queue.js';

const BACKLOGS_GIB = [0, 1, 4] as const;
const BATCHES_A_COMMIT = 8;
const SLICE_SECONDS = 2;

const batches = Array.from({ length: BATCHES_A_COMMIT }, fullBatch);
const bytesACommit = batches.reduce((sum, batch) => sum + batch.length, 0);
const recordsACommit = batches.reduce((sum, batch) => sum + readBatchHeader(batch).records, 0);

async function run(): Promise<void> {
  const [path, rounds, windowSeconds, soakSeconds] = process.argv.slice(2);
  if (path === undefined || soakSeconds === undefined) throw new Error('a path and three numbers are needed');
  const queue = Queue.open(path, { quotaBytes: 2 ** 37, diskFloorBytes: 2 ** 28, retainBytes: 0, onFailure: fail });
  await grow(queue);
  for (let round = 0; round < Number(rounds); round++) {
    for (const backlogGib of BACKLOGS_GIB) {
      await fill(queue, backlogGib);
      tell('window', { backlogGib, ...(await putAndPop(queue, Number(windowSeconds))) });
    }
    await drain(queue);
  }
  for (let second = 0; second < Number(soakSeconds); second += SLICE_SECONDS) {
    const slice = await putAndPop(queue, SLICE_SECONDS);
    tell('slice', { second, ...slice, fileBytes: statSync(join(path, 'data.mdb')).size });
  }
  await queue.close();
  tell('done');
  leaveParent();
}

/**
 * Gives the file its greatest size first: taking pages that nobody had yet costs more than the queue itself (primed-queue.ts), and
 * would be measured with the backlog that is the first to need them.
 */
async function grow(queue: Queue): Promise<void> {
  await fill(queue, Math.max(...BACKLOGS_GIB));
  await drain(queue);
}

async function fill(queue: Queue, gib: number): Promise<void> {
  while (queue.stats().bytes < gib * 2 ** 30) await queue.append(batches);
}

/** Puts a commit's batches and pops as many of the oldest, again and again. */
async function putAndPop(queue: Queue, seconds: number): Promise<Readonly<Record<string, number>>> {
  let after: Position = queue.released;
  let commits = 0;
  const cpu = process.cpuUsage();
  const startedMs = performance.now();
  while (performance.now() - startedMs < seconds * 1000) {
    await queue.append(batches);
    after = queue.peek(after, bytesACommit).through;
    queue.release(after);
    commits++;
  }
  const elapsed = (performance.now() - startedMs) / 1000;
  const { user, system } = process.cpuUsage(cpu);
  const records = commits * recordsACommit;
  return {
    recordsPerSecond: records / elapsed,
    cpuMicroseconds: (user + system) / records,
    commitMs: (elapsed * 1000) / commits,
  };
}

/** Empties the queue, but for a commit's batches: a commit deletes some hundred of what was released. */
async function drain(queue: Queue): Promise<void> {
  do {
    await queue.append(batches);
    queue.release(queue.head);
  } while (queue.stats().retainedBytes > bytesACommit);
}

function fail(error: unknown): never {
  throw error;
}

runAsChild(run);
