/**
 * A redis-server of a test's own that keeps an append-only file (everysec): it can be killed and come back, also without
 * the last of what it was told, as after a power cut. (A kill alone loses nothing: the kernel has the file's bytes.)
 */
import { execFileSync, spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, statSync, truncateSync } from 'node:fs';
import { createConnection } from 'node:net';
import { join } from 'node:path';
import type { Test } from 'tap';
import { freePort } from './ports.js';
import { until } from './processes.js';

const SETTINGS = [
  ['--appendonly', 'yes'],
  ['--appendfsync', 'everysec'],
  ['--save', ''],
  ['--auto-aof-rewrite-percentage', '0'],
] as const;
/** With it the server ends with the test's process, however that ends. */
const LAUNCHER = ['setpriv', '--pdeathsig', 'KILL'];

/** Why tests with a Redis are skipped; false: they are not. */
export function redisMissing(): string | false {
  try {
    execFileSync(LAUNCHER[0]!, [...LAUNCHER.slice(1), 'redis-server', '--version'], { stdio: 'ignore' });
    return false;
  } catch {
    return 'redis-server or setpriv is not on the PATH';
  }
}

export class DurableRedis {
  #child: ChildProcess | undefined;

  private constructor(
    private readonly directory: string,
    private readonly port: number,
  ) {}

  /** A server that answers; it ends with the test. */
  static async start(t: Test): Promise<DurableRedis> {
    const redis = new DurableRedis(t.testdir({}), await freePort());
    t.teardown(() => redis.end('SIGKILL'));
    await redis.start();
    return redis;
  }

  get url(): string {
    return `redis://127.0.0.1:${this.port}`;
  }

  /** How long the append-only file is, bytes. */
  get fileBytes(): number {
    return statSync(this.#file).size;
  }

  /** Starts it, on what it had, and waits until it answers. */
  async start(): Promise<void> {
    const where = ['--port', String(this.port), '--bind', '127.0.0.1', '--dir', this.directory];
    const words = [...LAUNCHER, 'redis-server', ...where, ...SETTINGS.flat()];
    const child = spawn(words[0]!, words.slice(1), { stdio: 'ignore' });
    this.#child = child;
    await until(async () => {
      if (child.exitCode !== null) throw new Error(`redis-server ended with ${child.exitCode}`);
      return (await this.#ask('PING').catch(() => '')) === '+PONG';
    });
  }

  async end(signal: NodeJS.Signals): Promise<void> {
    const child = this.#child;
    if (child?.exitCode !== null || child.signalCode !== null) return;
    const exit = once(child, 'exit');
    child.kill(signal);
    await exit;
  }

  /** Takes everything after `bytes` out of the append-only file of a server that has ended. */
  forgetAfter(bytes: number): void {
    truncateSync(this.#file, bytes);
  }

  get #file(): string {
    const directory = join(this.directory, 'appendonlydir');
    const name = readdirSync(directory).find((file) => file.endsWith('.incr.aof'));
    if (name === undefined) throw new Error(`${directory} holds no append-only file`);
    return join(directory, name);
  }

  #ask(command: string): Promise<string> {
    return new Promise((resolve, reject) => {
      const socket = createConnection({ host: '127.0.0.1', port: this.port }, () => socket.write(`${command}\r\n`));
      socket.once('data', (answer) => {
        socket.destroy();
        resolve(answer.toString('latin1').trim());
      });
      socket.once('error', reject);
    });
  }
}
