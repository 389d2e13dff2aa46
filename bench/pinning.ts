/**
 * Which cores the processes of a bench run on: where one core's work is what counts, all threads of a process are kept on
 * the last core that this process may use (taskset of util-linux), and what it talks to on the others.
 */
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';

export interface Pinning {
  /** The words before the command of a process that is measured: all its threads get one core. */
  readonly measured: readonly string[];
  /** The words before the command of what it talks to. */
  readonly others: readonly string[];
  /** For the settings of a part. */
  readonly about: string;
}

const UNPINNED = { measured: [], others: [] };

export function findPinning(): Pinning {
  const cores = allowedCores();
  const measured = cores.at(-1)!;
  if (cores.length < 2) return { ...UNPINNED, about: 'one core for everything' };
  try {
    execFileSync('taskset', ['--version'], { stdio: 'ignore' });
  } catch {
    return { ...UNPINNED, about: 'none: there is no taskset on the PATH (util-linux)' };
  }
  const others = cores.slice(0, -1).join(',');
  return {
    measured: ['taskset', '-c', String(measured)],
    others: ['taskset', '-c', others],
    about: `all threads of the measured process on core ${measured}, redis-server on ${others} (taskset)`,
  };
}

/** Cores that this process may run on: `Cpus_allowed_list:	0-1,4`. */
function allowedCores(): number[] {
  const list = /^Cpus_allowed_list:\s*(\S+)$/m.exec(readFileSync('/proc/self/status', 'latin1'))?.[1] ?? '0';
  return list.split(',').flatMap((range) => {
    const [first, last] = range.split('-').map(Number);
    return Array.from({ length: (last ?? first!) - first! + 1 }, (_, at) => first! + at);
  });
}
