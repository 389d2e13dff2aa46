/**
 * A service as a child process of `holdfast up`: started, watched, started again with back-off when it dies, stopped.
 *
 * The IPC channel is there for its end alone: a child whose `up` was killed sees it close and stops. Children get a session
 * of their own, so that Ctrl-C in a terminal reaches `up` only, which stops them in order.
 */
import { fork, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { inheritedEnvironment } from '../../shared/config.js';
import { CONFIG_EXIT_CODE } from '../../shared/lifecycle.js';
import type { Logger } from '../../shared/log.js';
import { MALLOC_ENVIRONMENT } from '../../shared/malloc.js';
import { packagePath } from '../../shared/paths.js';
import { NICE, yieldSession } from './priority.js';
import type { RunFiles } from './run-files.js';

const FIRST_BACKOFF_MS = 100;
const MAX_BACKOFF_MS = 5_000;
/** A process that lived this long did not fail at its start: the back-off begins anew. */
const STEADY_MS = 10_000;
/** Longer than a service takes for itself (STOP_DEADLINE_MS). */
const STOP_TIMEOUT_MS = 12_000;
/** A process's title can be as long as its command line was: this makes room for it. */
const TITLE_LENGTH = 120;

export interface ChildOptions {
  readonly service: string;
  /** Whether devices wait for it. What they do not wait for leaves the processor to what they do. */
  readonly isAwaited: boolean;
  /** Keys on top of the environment of `up`. */
  readonly environment: Readonly<Record<string, string>>;
  readonly runFiles: RunFiles;
  readonly log: Logger;
  /** The child says its configuration is wrong: starting it again would not help. */
  readonly onBadConfig: (service: string) => void;
}

export class ServiceChild {
  readonly name: string;
  #child: ChildProcess | undefined;
  #stopping = false;
  #running: Promise<void> | undefined;
  readonly #stopWaiting = new AbortController();

  constructor(private readonly options: ChildOptions) {
    this.name = options.service;
  }

  start(): Promise<void> {
    this.#running = this.#keepRunning();
    return Promise.resolve();
  }

  /** SIGTERM, and SIGKILL where that is not heeded in time. */
  async stop(): Promise<void> {
    this.#stopping = true;
    this.#stopWaiting.abort();
    const child = this.#child;
    const timer = setTimeout(() => child?.kill('SIGKILL'), STOP_TIMEOUT_MS);
    child?.kill('SIGTERM');
    await this.#running;
    clearTimeout(timer);
  }

  async #keepRunning(): Promise<void> {
    const { service, log, runFiles, onBadConfig } = this.options;
    let backoffMs = FIRST_BACKOFF_MS;
    while (!this.#stopping) {
      const startedMs = Date.now();
      const { code, signal } = await this.#runOnce();
      runFiles.remove(service);
      if (this.#isStopping()) return;
      if (code === CONFIG_EXIT_CODE) {
        onBadConfig(service);
        return;
      }
      backoffMs = Date.now() - startedMs > STEADY_MS ? FIRST_BACKOFF_MS : Math.min(2 * backoffMs, MAX_BACKOFF_MS);
      log.warn({ service, code, signal, backoffMs }, `${service} ended; it is started again`);
      await sleep(backoffMs, undefined, { signal: this.#stopWaiting.signal }).catch(() => undefined);
    }
  }

  async #runOnce(): Promise<{ code: number | null; signal: NodeJS.Signals | null }> {
    const { service, environment, isAwaited, runFiles, log } = this.options;
    const title = `--title=${`holdfast-${service}`.padEnd(TITLE_LENGTH)}`;
    const child = fork(packagePath('dist', 'services', 'cli.js'), [service], {
      env: { ...MALLOC_ENVIRONMENT, ...inheritedEnvironment(), ...environment },
      ...(isAwaited
        ? { execArgv: [title] }
        : { execPath: NICE[0]!, execArgv: [...NICE.slice(1), process.execPath, title] }),
      detached: true,
    });
    this.#child = child;
    if (child.pid !== undefined) runFiles.write(service, child.pid);
    if (child.pid !== undefined && !isAwaited) void yieldSession(service, child.pid, log);
    const [code, signal] = (await once(child, 'exit')) as [number | null, NodeJS.Signals | null];
    this.#child = undefined;
    return { code, signal };
  }

  #isStopping(): boolean {
    return this.#stopping;
  }
}
