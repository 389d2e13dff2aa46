/**
 * System calls of a service that fail, end it or take long, as strace(1) does it.
 *
 * strace counts calls by thread (tried with strace 6.1). Commits run on threads of libuv, so a service under injection gets
 * one such thread, and a fault is injected either from the start, where it meets the main thread that opens the queue, or
 * into a service that is running, where it meets that one thread.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';

/** One thread of libuv: its calls are counted as those of the process. */
export const ONE_THREAD = { UV_THREADPOOL_SIZE: '1' } as const;

/** The calls with which LMDB writes its file. */
export type WriteCall = 'pwrite64' | 'writev' | 'fdatasync';

export interface Injection {
  readonly call: WriteCall;
  /** `signal=KILL`, `error=EIO`, `delay_enter=200000` (µs). */
  readonly fault: string;
  /** The n-th call, or `n+`: it and all after it. */
  readonly when: string;
  /** Calls on this file alone. */
  readonly path: string;
}

/** Which threads of a process are met. */
export type Threads = 'all threads' | 'main thread';

function words({ call, fault, when, path }: Injection, threads: Threads): string[] {
  return [
    ...(threads === 'all threads' ? ['-f'] : []),
    '-qq',
    '-o',
    '/dev/null',
    '-P',
    path,
    '-e',
    `trace=${call}`,
    '-e',
    `inject=${call}:${fault}:when=${when}`,
  ];
}

/** Words in front of a command that inject into it from its start. */
export function injecting(injection: Injection, threads: Threads = 'all threads'): readonly string[] {
  return ['strace', '-D', ...words(injection, threads)];
}

/** strace on a process that runs. */
export class Injector {
  readonly #ended: Promise<unknown>;

  private constructor(private readonly child: ChildProcess) {
    this.#ended = once(child, 'exit');
  }

  /** Attaches to a process and all its threads. @throws Error where it may not */
  static async attach(pid: number, injection: Injection): Promise<Injector> {
    // Without -q strace says when it is there, before the first call is counted.
    const loud = words(injection, 'all threads').filter((word) => word !== '-qq');
    const child = spawn('strace', [...loud, '-p', `${pid}`], { stdio: ['ignore', 'ignore', 'pipe'] });
    const injector = new Injector(child);
    let said = '';
    child.stderr.on('data', (chunk: Buffer) => (said += chunk.toString()));
    while (!said.includes('attached')) {
      await Promise.race([once(child.stderr, 'data'), injector.#ended]);
      if (child.exitCode !== null) throw new Error(`strace did not attach: ${said}`);
    }
    return injector;
  }

  /** Lets the process go on by itself. */
  async detach(): Promise<void> {
    if (this.child.exitCode === null && this.child.signalCode === null) this.child.kill('SIGTERM');
    await this.#ended;
  }
}
