/**
 * What malloc has given out in a service, and what it holds of the kernel for that: loaded beside the service (`--import`), every
 * second into a file with the process's id. A leak outside V8's heap shows in what is given out. What is held goes up with the
 * greatest use so far and stays there, since glibc gives back only what lies at the end of an arena.
 *
 * Buffers are given out until V8 collects them. In a thread whose heap hardly grows it may not look through its old generation
 * for half an hour or more, and dead buffers gather there, 10 MiB and more: growth that is none. So every thread collects all of
 * its garbage from time to time, and the least that was given out is what is alive.
 *
 * glibc 2.33 or later has the function that tells (mallinfo2, of all arenas); other C libraries do not.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { isMainThread } from 'node:worker_threads';
import koffi from 'koffi';
import { packagePath } from '../../shared/paths.js';

const WRITE_MS = 1_000;
/** Once at least in every five minutes, of which the report has the least. */
const COLLECT_MS = 240_000;

/** struct mallinfo2 (mallinfo(3)): all of its fields are size_t. */
interface MallocInfo {
  /** Bytes in arenas, given out or free. */
  readonly arena: number;
  /** Bytes of allocations that are a mapping each. */
  readonly hblkhd: number;
  /** Bytes given out of arenas. */
  readonly uordblks: number;
}

/** MiB. */
export interface MallocUse {
  readonly givenOut: number;
  readonly held: number;
}

/** What makes services write into `directory`, which is there, what mallocUse reads. */
export function mallocWatchEnvironment(directory: string): Readonly<Record<string, string>> {
  const script = pathToFileURL(packagePath('dist', 'test', 'faults', 'malloc-watch.js'));
  script.searchParams.set('directory', directory);
  return { NODE_OPTIONS: `--import ${script.href}` };
}

/** Of a process, at most some seconds old; NaN where it has told nothing yet. */
export function mallocUse(directory: string, pid: number): MallocUse {
  try {
    return JSON.parse(readFileSync(join(directory, String(pid)), 'utf8')) as MallocUse;
  } catch (error) {
    if (!(error instanceof SyntaxError) && (error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    return { givenOut: Number.NaN, held: Number.NaN };
  }
}

function watchMalloc(directory: string): void {
  const names = [
    'arena',
    'ordblks',
    'smblks',
    'hblks',
    'hblkhd',
    'usmblks',
    'fsmblks',
    'uordblks',
    'fordblks',
    'keepcost',
  ];
  const type = koffi.struct('mallinfo2', Object.fromEntries(names.map((name) => [name, 'size_t'])));
  const mallinfo2 = koffi.load('libc.so.6').func('mallinfo2', type, []) as () => MallocInfo;
  const mebibytes = (bytes: number): number => bytes / 2 ** 20;
  const tell = (): void => {
    const { arena, hblkhd, uordblks } = mallinfo2();
    const use: MallocUse = { givenOut: mebibytes(uordblks + hblkhd), held: mebibytes(arena + hblkhd) };
    writeFileSync(join(directory, String(process.pid)), JSON.stringify(use));
  };
  setInterval(tell, WRITE_MS).unref();
}

function collectGarbage(): void {
  setFlagsFromString('--expose-gc');
  const collect = runInNewContext('gc') as () => void;
  setInterval(() => collect(), COLLECT_MS).unref();
}

const directory = new URL(import.meta.url).searchParams.get('directory');
if (directory !== null) {
  collectGarbage();
  if (isMainThread) watchMalloc(directory);
}
