/** The priority of a session, as the kernel tells it: what `holdfast up` puts behind the edge is looked at by it. */
import { existsSync, readFileSync } from 'node:fs';

/** Of the session of a process, where the kernel has such a thing (sched_autogroup, see sched(7)). */
export function sessionNicenessOf(pid: number): number | undefined {
  const group = `/proc/${pid}/autogroup`;
  const session = existsSync(group) ? / nice (-?\d+)/.exec(readFileSync(group, 'utf8')) : null;
  return session === null ? undefined : Number(session[1]);
}
