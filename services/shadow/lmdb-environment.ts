/**
 * The LMDB environment of a store: one directory with
 *
 *   data.mdb lock.mdb   LMDB; databases
 *     things     thing → stored-thing.ts
 *     commands   command → f64 due, value
 *     order      thing, 0, command → nothing: a thing's commands in the order of their creation
 *     due        f64 due (big-endian), command → nothing
 *     meta       `position/<queue id>` → position
 *     fence      shared/queue/fence.ts
 *   shadow.json         written after the environment's first commit, so that a data.mdb that is lost or empty is an error and
 *                       not a new, empty store
 *
 * Opening reads a few pages, whatever the store's size. So damage within data.mdb is not looked for, as a queue does: a store
 * of 1,000,000 things is a gigabyte, and shadow should serve in seconds.
 *
 * overlappingSync is off and the map has a fixed size for the reasons that stand in shared/queue/store.ts.
 */
import { existsSync, readFileSync, statfsSync, statSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { open, type Database, type RootDatabase } from 'lmdb';
import { HoldfastError, messageOf } from '../../shared/errors.js';
import { Fence } from '../../shared/queue/fence.js';
import { DATA_FILE, syncDirectory } from '../../shared/queue/store.js';
import type { Change } from './store.js';

export interface LmdbOptions {
  /** The directory; made where there is none. */
  readonly path: string;
  /** The most that the file may grow to. */
  readonly mapBytes: number;
  /** Free bytes on the file system below which nothing is written. */
  readonly diskFloorBytes: number;
}

/** There once the store is. */
export const MARKER_FILE = 'shadow.json';
const FORMAT = 1;
const DATABASES = 6;
const PAGE_BYTES = 4096;
/** Pages that a put may take: the leaf, copied, and one more where it has to be split. */
const PAGES_A_PUT = 2;
/** Branch pages, the list of free pages, and what else goes with a transaction. */
const PAGES_A_TRANSACTION = 64;
/** A command, its place in the order, its due time and the one that it had. */
const PUTS_A_COMMAND = 4;

/** Ids are ASCII, so that latin1 gives their order bytewise; lmdb-js' own encoding of strings costs about as much. */
const KEY_ENCODER = {
  writeKey: (key: string, target: Buffer, at: number): number => at + target.write(key, at, 'latin1'),
  readKey: (source: Buffer, at: number, end: number): string => source.toString('latin1', at, end),
};
const STRING_KEYS = { encoding: 'binary', keyEncoder: KEY_ENCODER } as const;
const BINARY_KEYS = { encoding: 'binary', keyEncoding: 'binary' } as const;

export class LmdbEnvironment {
  readonly root: RootDatabase<Buffer, Buffer>;
  readonly things: Database<Buffer, string>;
  readonly commands: Database<Buffer, string>;
  readonly order: Database<Buffer, string>;
  readonly due: Database<Buffer, Buffer>;
  readonly meta: Database<Buffer, string>;
  readonly fence: Fence;

  private constructor(private readonly options: LmdbOptions) {
    const { path, mapBytes: mapSize } = options;
    this.root = open<Buffer, Buffer>({
      ...BINARY_KEYS,
      path,
      mapSize,
      // Said, because lmdb-js takes a path with a dot in its last name for that of a file.
      noSubdir: false,
      overlappingSync: false,
      eventTurnBatching: false,
      pageSize: PAGE_BYTES,
      maxDbs: DATABASES,
    });
    this.things = this.root.openDB<Buffer, string>('things', STRING_KEYS);
    this.commands = this.root.openDB<Buffer, string>('commands', STRING_KEYS);
    this.order = this.root.openDB<Buffer, string>('order', STRING_KEYS);
    this.due = this.root.openDB<Buffer, Buffer>('due', BINARY_KEYS);
    this.meta = this.root.openDB<Buffer, string>('meta', STRING_KEYS);
    this.fence = Fence.take(this.root);
  }

  /**
   * Opens the environment and takes a new epoch; whoever had the last one cannot commit any more.
   * @throws HoldfastError store (no retry) where there is something that is not a whole store
   */
  static open(options: LmdbOptions): LmdbEnvironment {
    const { path } = options;
    const data = join(path, DATA_FILE);
    const marker = join(path, MARKER_FILE);
    const isEmpty = !existsSync(data) || statSync(data).size === 0;
    const isMarked = existsSync(marker);
    if (isEmpty && isMarked) throw unreadable(path, `${MARKER_FILE} is there but ${DATA_FILE} is missing or empty`);
    try {
      if (isMarked) checkFormat(marker);
      const environment = new LmdbEnvironment(options);
      if (!isMarked) {
        writeFileSync(marker, `${JSON.stringify({ format: FORMAT })}\n`, { flush: true });
        syncDirectory(path);
        syncDirectory(dirname(path));
      }
      return environment;
    } catch (error) {
      throw unreadable(path, messageOf(error), error);
    }
  }

  /**
   * Why a change cannot be written now, or undefined. LMDB must never meet a full disk or a full map: going on after a
   * commit that failed corrupts its heap. So as much is asked for as the change can take at most.
   */
  refusal(change: Change): HoldfastError | undefined {
    const { path, mapBytes, diskFloorBytes } = this.options;
    const bytes = mostBytes(change);
    const disk = statfsSync(path);
    if (disk.bavail * disk.bsize < diskFloorBytes + bytes) {
      const message = `the disk of ${path} is down to its floor of ${diskFloorBytes} free bytes; free some space`;
      return new HoldfastError('store', message, true);
    }
    if (statSync(join(path, DATA_FILE)).size + bytes > mapBytes) {
      const message = `the store in ${path} has grown to the ${mapBytes} bytes that it may have; set SHADOW_MAP higher`;
      return new HoldfastError('store', message, true);
    }
    return undefined;
  }
}

function mostBytes({ things, commands }: Change): number {
  let bytes = 0;
  for (const { value } of things) bytes += value.length;
  for (const { value } of commands) bytes += value?.length ?? 0;
  const puts = things.length + PUTS_A_COMMAND * commands.length;
  return 2 * bytes + (PAGES_A_PUT * puts + PAGES_A_TRANSACTION) * PAGE_BYTES;
}

function checkFormat(marker: string): void {
  const { format } = JSON.parse(readFileSync(marker, 'utf8')) as { format?: unknown };
  if (format !== FORMAT) throw new Error(`its format is ${String(format)}, not ${FORMAT}`);
}

function unreadable(path: string, what: string, cause?: unknown): HoldfastError {
  const advice = 'restore the directory from a copy, or move it away to start with an empty store';
  return new HoldfastError('store', `the store in ${path} cannot be opened: ${what}; ${advice}`, false, cause);
}
