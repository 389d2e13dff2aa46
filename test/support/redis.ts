/** A redis-server of a test's own: on a free port, in a directory that goes with it, ended with the test's process. */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Redis } from 'ioredis';
import { until } from './processes.js';
import { freePorts } from './ports.js';

export interface TestRedisOptions {
  /** Whether there is an append-only file, and when it is fsynced; without it Redis keeps nothing. */
  readonly appendfsync?: 'always' | 'everysec' | 'no';
  /** A Redis Cluster of one node, which has all slots. */
  readonly cluster?: boolean;
  /** What clients have to show. */
  readonly password?: string;
  /** Where its directory is made; default: among the machine's temporary files. */
  readonly directoryIn?: string;
  /** More of redis.conf, as words of the command line. */
  readonly settings?: readonly string[];
}

/** With setpriv it ends with the test, even with one that was killed. */
const COMMAND = ['setpriv', '--pdeathsig', 'KILL', 'redis-server'] as const;
const SLOTS = 16_384;
const OUTPUT_CHARACTERS = 20_000;

export class TestRedis {
  #child: ChildProcess | undefined;
  #output = '';

  private constructor(
    /** Where its files are. */
    readonly directory: string,
    readonly port: number,
    /** Where nodes of a cluster would talk to it; by itself Redis takes a port that may be anybody's. */
    private readonly busPort: number,
    private readonly options: TestRedisOptions,
    /** A client for what a test does by itself; it waits while the server is away. */
    readonly client: Redis,
  ) {}

  static async start(options: TestRedisOptions = {}): Promise<TestRedis> {
    const directory = await mkdtemp(join(options.directoryIn ?? tmpdir(), 'holdfast-redis-'));
    const [port, busPort] = (await freePorts(2)) as [number, number];
    const client = new Redis({
      port,
      lazyConnect: true,
      maxRetriesPerRequest: null,
      retryStrategy: () => 20,
      ...(options.password === undefined ? {} : { password: options.password }),
    });
    client.on('error', () => undefined);
    const redis = new TestRedis(directory, port, busPort, options, client);
    try {
      await redis.restart();
      if (options.cluster === true) await redis.#takeSlots();
      return redis;
    } catch (error) {
      await redis.stop();
      throw error;
    }
  }

  get url(): string {
    const { password } = this.options;
    return `redis://${password === undefined ? '' : `:${password}@`}127.0.0.1:${this.port}`;
  }

  get running(): boolean {
    return this.#child !== undefined && this.#child.exitCode === null && this.#child.signalCode === null;
  }

  /** Starts a server that was killed again, on the same directory and port, and waits until it has read its files. */
  async restart(): Promise<void> {
    const child = spawn(COMMAND[0], [...COMMAND.slice(1), ...this.#words()], { stdio: ['ignore', 'pipe', 'pipe'] });
    for (const stream of [child.stdout, child.stderr]) {
      stream.on('data', (chunk: Buffer) => (this.#output = (this.#output + String(chunk)).slice(-OUTPUT_CHARACTERS)));
    }
    this.#child = child;
    const ended = once(child, 'exit').then(() => Promise.reject(new Error(`redis-server ended:\n${this.#output}`)));
    await Promise.race([ended, until(() => this.#isReady())]);
    ended.catch(() => undefined);
  }

  /** Kills the server with -9 and waits for its end. */
  async kill(): Promise<void> {
    if (!this.running) return;
    const exit = once(this.#child!, 'exit');
    this.#child!.kill('SIGKILL');
    await exit;
  }

  /** Holds the server: it keeps its connections and answers nobody. */
  pause(): void {
    this.#child?.kill('SIGSTOP');
  }

  /** Lets a server go on that was held. */
  goOn(): void {
    this.#child?.kill('SIGCONT');
  }

  /** Ends the server and removes its directory. */
  async stop(): Promise<void> {
    this.client.disconnect();
    await this.kill();
    await rm(this.directory, { recursive: true, force: true });
  }

  #words(): string[] {
    const { appendfsync, cluster, password, settings = [] } = this.options;
    const words = ['--port', `${this.port}`, '--bind', '127.0.0.1', '--dir', this.directory, '--save', ''];
    if (appendfsync !== undefined) words.push('--appendonly', 'yes', '--appendfsync', appendfsync);
    if (password !== undefined) words.push('--requirepass', password);
    if (cluster === true) {
      words.push('--cluster-enabled', 'yes', '--cluster-announce-ip', '127.0.0.1', '--cluster-port', `${this.busPort}`);
    }
    return [...words, ...settings];
  }

  async #takeSlots(): Promise<void> {
    await this.client.call('CLUSTER', 'ADDSLOTSRANGE', 0, SLOTS - 1);
    await until(async () => (await this.client.cluster('INFO')).includes('cluster_state:ok'));
  }

  async #isReady(): Promise<boolean> {
    try {
      await this.client.ping();
      return true;
    } catch {
      return false;
    }
  }
}
