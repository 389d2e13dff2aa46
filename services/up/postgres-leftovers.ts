/**
 * What a PostgreSQL that nobody stopped leaves behind: processes, and postmaster.pid.
 *
 * Whose process it is says /proc, not the pid in the file, which may be another program's by now: every process of a
 * cluster stands in its data directory. They must all be gone before the file may be removed: PostgreSQL finds orphans
 * (whose postmaster was killed) by the shared memory that the file names, and a second postmaster beside an orphan would
 * destroy the data. A file whose pid is gone is therefore left to PostgreSQL, which knows what to do with it.
 *
 * Without /proc (macOS) nothing is stopped or removed here, and PostgreSQL itself refuses to start twice.
 */
import { readFile, readdir, readlink, realpath, rm } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { HoldfastError, messageOf } from '../../shared/errors.js';
import type { Logger } from '../../shared/log.js';
import { ignoreMissing } from './postgres-user.js';

/** Each stronger than the one before: fast shutdown, immediate shutdown, the end. */
const STEPS = [
  { signal: 'SIGINT', waitMs: 10_000 },
  { signal: 'SIGQUIT', waitMs: 5_000 },
  { signal: 'SIGKILL', waitMs: 5_000 },
] as const;
const POLL_MS = 50;

/**
 * Stops what still runs in the data directory and removes a lock file that names another program's process.
 * @throws HoldfastError start_failed where a process does not end
 */
export async function clearLeftovers(directory: string, log: Logger): Promise<void> {
  if (process.platform !== 'linux') return;
  const lock = join(directory, 'postmaster.pid');
  const text = await readFile(lock, 'utf8').catch(ignoreMissing);
  const postmaster = text === undefined ? undefined : Number.parseInt(text, 10);
  await stopProcesses(directory, postmaster, log);
  if (text === undefined || postmaster === undefined) return;
  // Not there any more: the postmaster that was stopped here has removed it.
  if ((await readFile(lock, 'utf8').catch(ignoreMissing)) === undefined) return;
  if (Number.isNaN(postmaster) || isAlive(postmaster)) {
    log.warn({ postmaster }, 'postmaster.pid is stale: its process is not of this database; removed');
    await rm(lock, { force: true });
  }
}

async function stopProcesses(directory: string, postmaster: number | undefined, log: Logger): Promise<void> {
  for (const { signal, waitMs } of STEPS) {
    const pids = await processesOf(directory);
    if (pids.length === 0) return;
    log.warn({ pids, signal }, 'a PostgreSQL of this directory still runs; stopping it');
    // A live postmaster stops its own; orphans notice its end and stop by themselves, or are told in the next step.
    for (const pid of postmaster !== undefined && pids.includes(postmaster) ? [postmaster] : pids) tell(pid, signal);
    const deadline = performance.now() + waitMs;
    while (performance.now() < deadline && (await processesOf(directory)).length > 0) await sleep(POLL_MS);
  }
  const pids = await processesOf(directory);
  if (pids.length === 0) return;
  throw new HoldfastError('start_failed', `PostgreSQL still runs in ${directory}, processes ${pids.join(', ')}`, true);
}

/** The pids of PostgreSQL's processes that stand in the directory. */
export async function processesOf(directory: string): Promise<readonly number[]> {
  const real = await realpath(directory).catch(ignoreMissing);
  if (real === undefined) return [];
  const names = await readdir('/proc');
  const pids = names.filter((name) => /^\d+$/.test(name)).map(Number);
  const standing = await Promise.all(pids.map((pid) => standsIn(pid, real)));
  return pids.filter((_, index) => standing[index]);
}

async function standsIn(pid: number, directory: string): Promise<boolean> {
  try {
    const [cwd, executable] = await Promise.all([readlink(`/proc/${pid}/cwd`), readlink(`/proc/${pid}/exe`)]);
    return cwd === directory && basename(executable).startsWith('postgres');
  } catch {
    return false; // It has ended, is a kernel thread, or is another user's: none of them is ours.
  }
}

function tell(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch (error) {
    if (isAlive(pid))
      throw new HoldfastError('start_failed', `cannot stop process ${pid}: ${messageOf(error)}`, true, error);
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return error instanceof Error && 'code' in error && error.code === 'EPERM';
  }
}
