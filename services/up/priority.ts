/**
 * Who comes first where everything shares the processors of one machine: the edge, for which devices wait, and the demo's
 * devices themselves. Everything behind the edge's queue has time: what it does later lies on disk meanwhile.
 *
 * Two numbers say so, because Linux has two. Niceness is each thread's, and threads inherit it. Where the kernel groups processes
 * by session (sched_autogroup), niceness counts within a session only, and each child has a session of its own: there
 * the session's own number counts, see sched(7). PostgreSQL gives each of its processes a session of its own as well, at any time:
 * a COPY would have the edge's share again.
 */
import { readFile, writeFile } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { messageOf } from '../../shared/errors.js';
import type { Logger } from '../../shared/log.js';

/** Niceness of what no device waits for: about a thirtieth of the edge's share where both want all they can get. */
export const BEHIND_ACKS = 15;

/** Words before a command that give it this niceness: set from outside, it would be that of a process's first thread alone. */
export const NICE: readonly string[] = ['nice', '-n', String(BEHIND_ACKS)];

/** The kernel takes ten such changes a second from everybody who is not root together. */
const TRIES = 50;
const RETRY_MS = 110;
/** Between two looks for a process's new children. */
const LOOK_MS = 1_000;

/**
 * Puts the session of a process behind those of the edge and of devices. There is no such thing outside Linux and without
 * sched_autogroup; where it is there and may not be changed, as in some containers, a line says so: the process works all the same.
 * @param pid of the session's first process
 * @returns false where nobody may change it
 */
export async function yieldSession(service: string, pid: number, log: Logger): Promise<boolean> {
  for (let tries = 1; ; tries++) {
    try {
      await writeFile(`/proc/${pid}/autogroup`, String(BEHIND_ACKS), { flag: 'r+' });
      return true;
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      if (code === 'ENOENT' || code === 'ESRCH') return true;
      if (code !== 'EAGAIN' || tries === TRIES) {
        log.info({ service, reason: messageOf(error) }, 'the priority of its session stays as it is');
        return false;
      }
      await sleep(RETRY_MS);
    }
  }
}

/**
 * Does so with a process and with the children that it has and gets, each with a session of its own, until the process is gone.
 * @param gone aborts when it has ended
 */
export async function yieldSessions(service: string, pid: number, log: Logger, gone: AbortSignal): Promise<void> {
  let behind = new Set<number>();
  let mayChange = await yieldSession(service, pid, log);
  while (mayChange && !gone.aborted) {
    const children = await childrenOf(pid);
    for (const child of children) {
      // One that has just been forked is in its parent's session still, and would begin its own with the edge's share.
      if (behind.has(child) || !(await leadsSession(child))) continue;
      mayChange &&= await yieldSession(service, child, log);
      behind.add(child);
    }
    behind = new Set(children.filter((child) => behind.has(child)));
    await sleep(LOOK_MS, undefined, { ref: false, signal: gone }).catch(() => undefined);
  }
}

/** Whether a process has begun a session of its own. The session is the 6th field of proc(5)'s stat; the 2nd is a name in brackets. */
async function leadsSession(pid: number): Promise<boolean> {
  const stat = await readOfProcess(`/proc/${pid}/stat`);
  return Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[3]) === pid;
}

/** Those of a process's first thread; none where the kernel does not tell. See proc(5). */
export async function childrenOf(pid: number): Promise<number[]> {
  return (await readOfProcess(`/proc/${pid}/task/${pid}/children`)).split(' ').filter(Boolean).map(Number);
}

/** Empty where the process is gone, or the kernel does not tell. */
async function readOfProcess(path: string): Promise<string> {
  try {
    return await readFile(path, 'latin1');
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code !== 'ENOENT' && code !== 'ESRCH') throw error;
    return '';
  }
}
