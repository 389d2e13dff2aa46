/**
 * Where shadow keeps its things and commands: Redis (redis-store.ts) or LMDB (lmdb-store.ts), one interface.
 *
 * What a change holds is written together or not at all: the values of things, their index entries, commands, and the
 * position in the router's queue up to which records are applied to them. So a store that comes back older, by a crash or
 * by the last second of an append-only file, comes back consistent, and shadow applies again what is missing.
 *
 * One writer: a change holds only where the stored position is the one it starts from and nobody else has opened the store
 * for writing since. A second shadow on the same store therefore stops the first, and their changes never mix.
 *
 * Values are opaque here (codec.ts and command.ts make them). Ids of things are device ids; ids of commands are UUIDs of
 * version 7, whose order is that of their creation.
 */
import type { Position } from '../../shared/position.js';

/** What lists of things are filtered by, beside the value. */
export interface ThingEntry {
  readonly connected: boolean;
  readonly type: string | null;
  readonly site: string | null;
}

export interface ThingWrite {
  readonly thing: string;
  readonly value: Buffer;
  readonly entry: ThingEntry;
}

export interface CommandWrite {
  readonly id: string;
  /** Never another one for the same id. */
  readonly thing: string;
  /** undefined: the command is removed. */
  readonly value: Buffer | undefined;
  /** When it is due, ms since 1970: to time out while it is open, to be removed once it is over. */
  readonly dueMs: number;
}

/** What is written together. */
export interface Change {
  /** The queue that the positions belong to; undefined: no records are applied, and the positions stay as they are. */
  readonly applied: { readonly queueId: string; readonly from: Position; readonly through: Position } | undefined;
  readonly things: readonly ThingWrite[];
  readonly commands: readonly CommandWrite[];
}

export interface ListedThing {
  readonly thing: string;
  readonly entry: ThingEntry;
}

export interface Store {
  /** True while the store can be read and written. */
  readonly ready: boolean;

  /**
   * How long after write() has returned a change can still be lost with the store's process or machine: 0 for LMDB, seconds
   * for Redis with appendfsync everysec. Records are acked to the router that much later, so that it can bring them again.
   */
  readonly unsafeMs: number;

  /**
   * Becomes the store's writer; whoever was it before cannot write any more.
   * @throws HoldfastError store (retry) while it is away
   */
  open(): Promise<void>;

  /** The position applied of a queue; START where nothing of it ever was. */
  position(queueId: string): Promise<Position>;

  /** The values of things, in the order asked for; undefined for one that is not there. */
  load(things: readonly string[]): Promise<(Buffer | undefined)[]>;

  /**
   * Writes a change, durably where the store promises that (LMDB: fsynced; Redis: as its appendfsync says). The next change
   * is to be asked for when this one is written: behind one that failed its position does not fit, and that is fenced.
   * @throws HoldfastError fenced where another writer has opened the store or moved the position, or where the store has
   *   lost what it had confirmed; store (retry) where it is away: whether the change is there is then unknown, and the same
   *   change (the same object) may be written again; store (no retry) for what can never be written. After fenced and
   *   commit_failed the process must end
   */
  write(change: Change): Promise<void>;

  /** Up to `limit` things after `after` ('' for the first), ordered by id in ASCII. */
  list(after: string, limit: number): Promise<ListedThing[]>;

  /** The values of commands; undefined for one that is not there. */
  loadCommands(ids: readonly string[]): Promise<(Buffer | undefined)[]>;

  /** Ids of a thing's commands, newest first, older than `before` ('' for the newest), up to `limit`. */
  listCommands(thing: string, before: string, limit: number): Promise<string[]>;

  /** Ids of commands that are due at `nowMs`, the earliest first, up to `limit`. */
  dueCommands(nowMs: number, limit: number): Promise<string[]>;

  /** Closes it; what was written stays. */
  close(): Promise<void>;
}
