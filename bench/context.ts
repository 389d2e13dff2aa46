/** What every part of the bench is given: where it may write, how long it may take, and whom it tells. */
import { mkdirSync, rmSync, statfsSync } from 'node:fs';
import { join } from 'node:path';
import { packagePath } from '../shared/paths.js';

const TMPFS_MAGIC = 0x01021994;

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

  /**
   * @param directory made here, and removed by clear(): on the disk that is measured
   * @throws Error where that is no disk
   */
  constructor(
    readonly options: BenchOptions,
    directory: string,
  ) {
    this.#directory = directory;
    mkdirSync(directory, { recursive: true });
    if (statfsSync(directory).type === TMPFS_MAGIC)
      throw new Error(`${directory} is in memory: no fsync is measured there`);
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
    return this.options.profile ? ['--cpu-prof', `--cpu-prof-dir=${profileDirectory()}`] : [];
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
