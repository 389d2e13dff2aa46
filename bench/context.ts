/** What every part of the bench is given: where it may write, how long it may take, and whom it tells. */
import { existsSync, mkdirSync, readdirSync, rmSync, statfsSync } from 'node:fs';
import { join } from 'node:path';
import { packagePath } from '../shared/paths.js';

const TMPFS_MAGIC = 0x01021994;
const PREFIX = 'bench-';

export interface BenchOptions {
  /** Repetitions of every side; sides alternate within a round. */
  readonly rounds: number;
  /** The measured window of one repetition. */
  readonly seconds: number;
  readonly warmupSeconds: number;
  /** True: the services that are measured write CPU profiles. */
  readonly profile: boolean;
}

export class BenchContext {
  readonly #directory: string;
  #made = 0;
  #addedOptions: readonly string[] = [];

  /**
   * @param parent on the disk that is measured; a directory in it is made here, and removed by clear()
   * @throws Error where that is no disk
   */
  constructor(
    private given: BenchOptions,
    parent: string,
  ) {
    const directory = join(parent, `${PREFIX}${process.pid}`);
    this.#directory = directory;
    mkdirSync(directory, { recursive: true });
    removeLeftovers(parent);
    if (statfsSync(directory).type === TMPFS_MAGIC)
      throw new Error(`${directory} is in memory: no fsync is measured there`);
  }

  /** Of the part that runs. */
  get options(): BenchOptions {
    return this.given;
  }

  /** Says how many rounds the next part has. */
  setRounds(rounds: number): void {
    this.given = { ...this.given, rounds };
  }

  get directory(): string {
    return this.#directory;
  }

  /** The path of a directory of its own, not made yet. */
  newDirectory(name: string): string {
    return join(this.#directory, `${name}-${++this.#made}`);
  }

  /** Options of Node for a process that is measured. */
  get nodeOptions(): readonly string[] {
    return [
      ...this.#addedOptions,
      ...(this.options.profile ? ['--cpu-prof', `--cpu-prof-dir=${profileDirectory()}`] : []),
    ];
  }

  /** Gives every process that is started from now on more options of Node. */
  addNodeOptions(options: readonly string[]): void {
    this.#addedOptions = options;
  }

  /** Tells the person who waits. */
  say(line: string): void {
    console.log(`   ${line}`);
  }

  /** Removes a directory, also one whose owner was killed only now. */
  remove(directory: string): void {
    rmSync(directory, { recursive: true, force: true, maxRetries: 10, retryDelay: 50 });
  }

  clear(): void {
    this.remove(this.#directory);
  }
}

export function resultsDirectory(): string {
  return packagePath('bench', 'results');
}

export function profileDirectory(): string {
  return join(resultsDirectory(), 'profiles');
}

/** Removes the directories of benches that were killed. */
function removeLeftovers(parent: string): void {
  for (const name of readdirSync(parent)) {
    const isBench = name.startsWith(PREFIX) && /^\d+$/.test(name.slice(PREFIX.length));
    if (isBench && !existsSync(`/proc/${name.slice(PREFIX.length)}`)) {
      rmSync(join(parent, name), { recursive: true, force: true });
    }
  }
}
