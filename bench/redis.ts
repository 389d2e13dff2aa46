/** A redis-server of the bench's own: append-only file, fsync before every answer, nothing else. */
import { execFile } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { createConnection } from 'node:net';
import { promisify } from 'node:util';
import { setTimeout as sleep } from 'node:timers/promises';
import { freePort } from './ports.js';
import { BenchProcess } from './processes.js';
import { REDIS_STREAM } from './record-block.js';

/** With setpriv it ends with the bench, even one that was killed with -9. */
const COMMAND = 'setpriv';
const COMMAND_WORDS = ['--pdeathsig', 'KILL', 'redis-server'];
const START_DEADLINE_MS = 10_000;

/** As it is asked for, plus what keeps it from doing other work meanwhile: no snapshots, no rewrite of the file. */
export const REDIS_SETTINGS = [
  ['--appendonly', 'yes'],
  ['--appendfsync', 'always'],
  ['--save', ''],
  ['--auto-aof-rewrite-percentage', '0'],
] as const;

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
   * @param directory where its append-only file goes: the same disk as the queue it is compared with
   */
  static async start(directory: string): Promise<Redis> {
    mkdirSync(directory, { recursive: true });
    const port = await freePort();
    const process = new BenchProcess({
      name: 'redis-server',
      command: COMMAND,
      arguments: [
        ...COMMAND_WORDS,
        '--port',
        String(port),
        '--bind',
        '127.0.0.1',
        '--dir',
        directory,
        ...REDIS_SETTINGS.flat(),
      ],
      ipc: false,
    });
    const redis = new Redis(process, port);
    const until = performance.now() + START_DEADLINE_MS;
    for (;;) {
      process.assertRunning();
      const answer = await redis.#ask('PING').catch(() => '');
      if (answer.startsWith('+PONG')) return redis;
      if (performance.now() > until) throw new Error(`redis-server does not answer: ${answer}`);
      await sleep(20);
    }
  }

  /** How many entries it holds. */
  async entries(): Promise<number> {
    return Number((await this.#ask(`XLEN ${REDIS_STREAM}`)).slice(1));
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
