/** Real services as real processes for tests: on free ports, in directories of the test, ended with the test. */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { inheritedEnvironment } from '../../shared/config.js';
import { packagePath } from '../../shared/paths.js';

export { freePorts } from './ports.js';

const POLL_MS = 20;
const READY_TIMEOUT_MS = 60_000;
const OUTPUT_CHARACTERS = 1_000_000;

/** A service's process; restart runs it again with the same keys. */
export class ServiceProcess {
  #child: ChildProcess | undefined;
  output = '';

  /**
   * @param words what follows `holdfast` on the command line
   * @param adminPort where /readyz is asked
   * @param launcher words in front of node, as of strace
   * @param root the package to run, where it is not this one: a copy with a planted bug
   * @param adminHost where the admin port is
   */
  constructor(
    readonly words: readonly string[],
    readonly environment: Readonly<Record<string, string>>,
    readonly adminPort: number,
    private readonly launcher: readonly string[] = [],
    private readonly root: string = packagePath(),
    private readonly adminHost: string = '127.0.0.1',
  ) {}

  get pid(): number {
    return this.#child!.pid!;
  }

  get running(): boolean {
    return this.#child !== undefined && this.#child.exitCode === null && this.#child.signalCode === null;
  }

  /** Starts the process and waits until it is ready. */
  async start(): Promise<this> {
    this.spawn();
    await this.untilReady();
    return this;
  }

  spawn(): void {
    const words = [...this.launcher, process.execPath, join(this.root, 'dist', 'services', 'cli.js'), ...this.words];
    const child = spawn(words[0]!, words.slice(1), {
      env: { ...inheritedEnvironment(), LOG_FORMAT: 'json', ...this.environment },
      // The channel is there for its end: a service stops when the test's process is gone, however it went.
      stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
    });
    for (const stream of [child.stdout!, child.stderr!]) {
      stream.on('data', (chunk: Buffer) => (this.output = (this.output + chunk.toString()).slice(-OUTPUT_CHARACTERS)));
    }
    this.#child = child;
  }

  async untilReady(): Promise<void> {
    const deadlineMs = Date.now() + READY_TIMEOUT_MS;
    for (;;) {
      if (!this.running) throw new Error(`${this.words.join(' ')} ended while starting:\n${this.output}`);
      if ((await this.waitingFor())?.length === 0) return;
      if (Date.now() > deadlineMs) throw new Error(`${this.words.join(' ')} is not ready:\n${this.output}`);
      await sleep(POLL_MS);
    }
  }

  /** What /readyz names as missing; undefined where nobody answers. */
  async waitingFor(): Promise<readonly string[] | undefined> {
    try {
      const response = await fetch(`http://${this.adminHost}:${this.adminPort}/readyz`);
      return ((await response.json()) as { waiting: string[] }).waiting;
    } catch {
      return undefined;
    }
  }

  /** The value of a metric whose line starts with `name`; with labels, as `holdfast_rejected_total{reason="x"`. */
  async metric(name: string): Promise<number> {
    const response = await fetch(`http://${this.adminHost}:${this.adminPort}/metrics`);
    const lines = (await response.text()).split('\n');
    const line = lines.find((text) => text.startsWith(name) && '{, '.includes(text.charAt(name.length)));
    return line === undefined ? Number.NaN : Number(line.split(' ').at(-1));
  }

  /** Sends a signal and waits for the end. @returns the exit code, or the signal that ended it */
  async end(signal: NodeJS.Signals = 'SIGTERM'): Promise<number | NodeJS.Signals> {
    const child = this.#child;
    if (child === undefined) return 0;
    if (this.running) {
      const exit = once(child, 'exit');
      child.kill(signal);
      await exit;
    }
    return child.exitCode ?? child.signalCode!;
  }
}

/** Waits until `condition` holds; the test's own timeout bounds it. */
export async function until(condition: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await condition())) await sleep(POLL_MS);
}
