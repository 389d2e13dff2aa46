/** A redis-server of the bench's own: an append-only file, and nothing else. */
import { execFile } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { createConnection } from 'node:net';
import { promisify } from 'node:util';
import { setTimeout as sleep } from 'node:timers/promises';
import { freePort } from '../ports.js';
import { BenchProcess } from '../processes.js';
import { makePayload, noSeq, type FrameShape } from '../record-block.js';

/** With setpriv it ends with the bench, even one that was killed with -9. */
const COMMAND = 'setpriv';
const COMMAND_WORDS = ['--pdeathsig', 'KILL', 'redis-server'];
const START_DEADLINE_MS = 60_000;
const POLL_MS = 10;

/** The stream that takes all records: one, which is the better for Redis. */
const STREAM = 'telemetry';

export type RedisSettings = readonly (readonly [key: string, value: string])[];

/** As it is asked for, plus what keeps it from doing other work meanwhile: no snapshots, no rewrite of the file. */
export const REDIS_SETTINGS: RedisSettings = [
  ['--appendonly', 'yes'],
  ['--appendfsync', 'always'],
  ['--save', ''],
  ['--auto-aof-rewrite-percentage', '0'],
];

/** As shadow's store asks for it: the last second may be lost, and is replayed. */
export const REDIS_EVERY_SECOND: RedisSettings = REDIS_SETTINGS.map(([key, value]) => [
  key,
  key === '--appendfsync' ? 'everysec' : value,
]);

/** The settings as words of a command line. */
export function describeRedis(settings: RedisSettings): string {
  return settings.map(([key, value]) => `${key} ${value === '' ? '""' : value}`).join(' ');
}

/** `Redis server v=7.0.15 …`, or undefined where it or setpriv is not on the PATH. */
export async function redisVersion(): Promise<string | undefined> {
  try {
    return (await promisify(execFile)(COMMAND, [...COMMAND_WORDS, '--version'])).stdout.trim();
  } catch {
    return undefined;
  }
}

export class Redis {
  private constructor(
    readonly process: BenchProcess,
    readonly port: number,
  ) {}

  /**
   * Starts it and waits until it answers.
   * @param directory where its append-only file goes, or is: the same disk as what it is compared with
   * @param wrapper words before the command, which run it in their own place (pinning.ts)
   */
  static async start(
    directory: string,
    settings: RedisSettings = REDIS_SETTINGS,
    wrapper: readonly string[] = [],
  ): Promise<Redis> {
    mkdirSync(directory, { recursive: true });
    const port = await freePort();
    const where = ['--port', String(port), '--bind', '127.0.0.1', '--dir', directory];
    const [command, ...words] = [...wrapper, COMMAND, ...COMMAND_WORDS, ...where, ...settings.flat()];
    const process = new BenchProcess({ name: 'redis-server', command: command!, arguments: words, ipc: false });
    const redis = new Redis(process, port);
    const until = performance.now() + START_DEADLINE_MS;
    for (;;) {
      process.assertRunning();
      // While it loads its file it says LOADING.
      const answer = await redis.#ask('PING').catch(() => '');
      if (answer.startsWith('+PONG')) return redis;
      if (performance.now() > until) throw new Error(`redis-server does not answer: ${answer}`);
      await sleep(POLL_MS);
    }
  }

  get url(): string {
    return `redis://127.0.0.1:${this.port}`;
  }

  /** Bytes that its allocator has given out, as INFO memory tells it. */
  async usedBytes(): Promise<number> {
    const used = /used_memory:(\d+)/.exec(await this.#ask('INFO memory'))?.[1];
    if (used === undefined) throw new Error('INFO memory of Redis names no used_memory');
    return Number(used);
  }

  /** How many entries it holds. */
  async entries(): Promise<number> {
    return Number((await this.#ask(`XLEN ${STREAM}`)).slice(1));
  }

  #ask(command: string): Promise<string> {
    return new Promise((resolve, reject) => {
      const socket = createConnection({ host: '127.0.0.1', port: this.port }, () => socket.write(`${command}\r\n`));
      socket.setTimeout(5_000, () => socket.destroy(new Error(`no answer to ${command}`)));
      socket.once('data', (answer) => {
        socket.destroy();
        resolve(answer.toString('latin1').trim());
      });
      socket.once('error', reject);
    });
  }
}

/** `XADD telemetry * data payload`, in RESP; the server counts. */
export function redisShape(payloadBytes: number): FrameShape {
  const words = ['XADD', STREAM, '*', 'data', makePayload(payloadBytes).toString('latin1')];
  const text = words.map((word) => `$${word.length}\r\n${word}\r\n`).join('');
  return { frame: Buffer.from(`*${words.length}\r\n${text}`, 'latin1'), recordsAFrame: 1, writeSeq: noSeq };
}
