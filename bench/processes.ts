/**
 * The processes of a bench: started, waited for, measured from /proc and ended. Every one of them is known here until it
 * has ended, so that an error or Ctrl-C leaves none behind. They get an environment made from scratch: what is set in the
 * shell changes no number.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { get } from 'node:http';
import { connect } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { isMessage, type Message } from './messages.js';

const STOP_DEADLINE_MS = 15_000;
const START_DEADLINE_MS = 60_000;
const OUTPUT_KEPT_CHARACTERS = 8_000;
/** USER_HZ, the unit of /proc/<pid>/stat: 100 on every Linux that Node runs on. */
const TICKS_PER_SECOND = 100;

const running = new Set<BenchProcess>();

export interface StartOptions {
  /** For messages and the table. */
  readonly name: string;
  readonly command: string;
  readonly arguments: readonly string[];
  /** The whole environment; absent: this process's own. */
  readonly environment?: Readonly<Record<string, string>>;
  /** True for Node processes: they get an IPC channel, and end when it does. */
  readonly ipc: boolean;
}

export class BenchProcess {
  readonly name: string;
  readonly #child: ChildProcess;
  readonly #messages: Message[] = [];
  readonly #exited: Promise<string>;
  #output = '';
  #ended: string | undefined;
  #wake: () => void = () => undefined;

  constructor(options: StartOptions) {
    this.name = options.name;
    this.#child = spawn(options.command, options.arguments, {
      stdio: ['ignore', 'pipe', 'pipe', ...(options.ipc ? (['ipc'] as const) : [])],
      ...(options.environment === undefined ? {} : { env: options.environment }),
    });
    running.add(this);
    for (const stream of [this.#child.stdout, this.#child.stderr]) {
      stream?.on('data', (chunk: Buffer) => {
        this.#output = (this.#output + chunk.toString()).slice(-OUTPUT_KEPT_CHARACTERS);
      });
    }
    this.#child.on('message', (message) => {
      if (isMessage(message)) this.#messages.push(message);
      this.#wake();
    });
    this.#exited = new Promise((resolve) => {
      this.#child.on('error', (error) => resolve(error.message));
      this.#child.on('close', (code, signal) => resolve(signal ?? `code ${String(code)}`));
    });
    void this.#exited.then((how) => {
      this.#ended = how;
      running.delete(this);
      this.#wake();
    });
  }

  get pid(): number {
    if (this.#child.pid === undefined) throw new Error(`${this.name} could not be started`);
    return this.#child.pid;
  }

  /**
   * Waits for a message of the process.
   * @throws Error with the end of its output where it ends before, or the deadline passes
   */
  async message(event: string, deadlineMs: number = START_DEADLINE_MS): Promise<Message['values']> {
    const until = performance.now() + deadlineMs;
    for (;;) {
      const found = this.#messages.findIndex((message) => message.event === event);
      if (found >= 0) return this.#messages.splice(found, 1)[0]!.values;
      this.assertRunning();
      const leftMs = until - performance.now();
      if (leftMs <= 0) throw new Error(`${this.name} did not say "${event}" within ${deadlineMs} ms\n${this.#output}`);
      await this.#next(leftMs);
    }
  }

  /** Tells the process something; it has ended or has no channel: an error. */
  send(message: Message): void {
    this.#child.send(message);
  }

  /** @throws Error with the end of its output where the process has ended */
  assertRunning(): void {
    if (this.#ended !== undefined) throw new Error(`${this.name} ended with ${this.#ended}\n${this.#output}`);
  }

  /** Waits until the process has ended by itself, with exit code 0. */
  async finished(deadlineMs: number): Promise<void> {
    const until = performance.now() + deadlineMs;
    while (this.#ended === undefined) {
      const leftMs = until - performance.now();
      if (leftMs <= 0) throw new Error(`${this.name} did not end within ${deadlineMs} ms\n${this.#output}`);
      await this.#next(leftMs);
    }
    if (this.#ended !== 'code 0') this.assertRunning();
  }

  /** Ends the process: SIGTERM, and SIGKILL where that has not ended it in 15 s. Resolves when it has ended. */
  async stop(signal: NodeJS.Signals = 'SIGTERM'): Promise<void> {
    if (this.#ended !== undefined) return;
    this.#child.kill(signal);
    const timer = setTimeout(() => this.#child.kill('SIGKILL'), STOP_DEADLINE_MS);
    await this.#exited;
    clearTimeout(timer);
  }

  signal(signal: NodeJS.Signals): void {
    this.#child.kill(signal);
  }

  /** Seconds of CPU, user and system, of all threads since the process began. */
  cpuSeconds(): number {
    const stat = readFileSync(`/proc/${this.pid}/stat`, 'latin1');
    // The command's name is in parentheses and may hold anything: count fields after its end.
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND;
  }

  /** Bytes of memory: resident in all, and the part of it that is no file's. */
  memory(): { residentBytes: number; anonymousBytes: number } {
    const status = readFileSync(`/proc/${this.pid}/status`, 'latin1');
    return { residentBytes: kilobytes(status, 'VmRSS') * 1024, anonymousBytes: kilobytes(status, 'RssAnon') * 1024 };
  }

  async #next(timeoutMs: number): Promise<void> {
    let timer: NodeJS.Timeout | undefined;
    await new Promise<void>((resolve) => {
      this.#wake = resolve;
      timer = setTimeout(resolve, timeoutMs);
    });
    clearTimeout(timer);
    this.#wake = () => undefined;
  }
}

function kilobytes(status: string, key: string): number {
  const match = new RegExp(`^${key}:\\s+(\\d+) kB$`, 'm').exec(status);
  if (match === null) throw new Error(`/proc/<pid>/status has no ${key}`);
  return Number(match[1]);
}

/**
 * Starts a Node process from compiled JavaScript.
 * @param wrapper words before the command, which run it in their own place (pinning.ts)
 */
export function startNode(
  name: string,
  script: string,
  scriptArguments: readonly string[],
  environment: Readonly<Record<string, string>> = {},
  nodeOptions: readonly string[] = [],
  wrapper: readonly string[] = [],
): BenchProcess {
  const [command, ...words] = [...wrapper, process.execPath, ...nodeOptions, script, ...scriptArguments];
  return new BenchProcess({ name, command: command!, arguments: words, environment, ipc: true });
}

/** Ends what is still running; for the end of the bench, however it comes. */
export async function stopAll(): Promise<void> {
  await Promise.all([...running].map((process) => process.stop()));
}

/** Ends what is still running at once. */
export function killAll(): void {
  for (const process of running) process.signal('SIGKILL');
}

/**
 * Waits until an admin endpoint's path answers 200.
 * @throws Error where the process ends before, or 60 s pass
 */
export async function untilAnswers(process: BenchProcess, port: number, path: string): Promise<void> {
  const until = performance.now() + START_DEADLINE_MS;
  for (;;) {
    process.assertRunning();
    const { status, body } = await httpGet(port, path);
    if (status === 200) return;
    if (performance.now() > until) throw new Error(`${process.name}: ${path} answers ${status} ${body}`);
    await sleep(20);
  }
}

/**
 * Waits until a port of loopback accepts connections.
 * @throws Error where the process ends before, or 60 s pass
 */
export async function untilListens(process: BenchProcess, port: number): Promise<void> {
  const until = performance.now() + START_DEADLINE_MS;
  while (!(await accepts(port))) {
    process.assertRunning();
    if (performance.now() > until) throw new Error(`${process.name} does not listen on port ${port}`);
    await sleep(20);
  }
}

function accepts(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ host: '127.0.0.1', port }, () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', () => resolve(false));
  });
}

/** A GET on loopback; status 0 where nobody listens. */
export function httpGet(port: number, path: string): Promise<{ status: number; body: string }> {
  return new Promise((resolve) => {
    const request = get({ host: '127.0.0.1', port, path, timeout: 5_000, agent: false }, (response) => {
      const chunks: Buffer[] = [];
      response.on('data', (chunk: Buffer) => chunks.push(chunk));
      response.on('error', (error) => resolve({ status: 0, body: error.message }));
      response.on('end', () => resolve({ status: response.statusCode ?? 0, body: Buffer.concat(chunks).toString() }));
    });
    request.on('timeout', () => request.destroy(new Error('no answer in 5 s')));
    request.on('error', (error) => resolve({ status: 0, body: error.message }));
  });
}
