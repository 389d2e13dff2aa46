/**
 * Who comes first where everything shares the processors of one machine: the edge, for which devices wait, and the demo's
 * devices themselves. Everything behind the edge's queue has time: what it does later lies on disk meanwhile.
 *
 * Two numbers say so, because Linux has two. Niceness is each thread's, and threads inherit it. Where the kernel groups processes
 * by session (sched_autogroup), niceness counts within a session only, and each child has a session of its own: there
 * the session's own number counts, see sched(7).
 */
import { writeFile } from 'node:fs/promises';
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

/**
 * Puts the session of a process behind those of the edge and of devices. There is no such thing outside Linux and without
 * sched_autogroup; where it is there and may not be changed, as in some containers, a line says so: the process works all the same.
 * @param pid of the session's first process
 */
export async function yieldSession(service: string, pid: number, log: Logger): Promise<void> {
  for (let tries = 1; ; tries++) {
    try {
      await writeFile(`/proc/${pid}/autogroup`, String(BEHIND_ACKS), { flag: 'r+' });
      return;
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      if (code === 'ENOENT' || code === 'ESRCH') return;
      if (code !== 'EAGAIN' || tries === TRIES) {
        log.info({ service, reason: messageOf(error) }, 'the priority of its session stays as it is');
        return;
      }
      await sleep(RETRY_MS);
    }
  }
}
