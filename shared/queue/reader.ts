/**
 * Reads a queue: what a monitor thread peeks at, a consumer fetches and `holdfast queue inspect` checks.
 *
 * Reads are short: every call takes a fresh snapshot, copies what it returns, and lets the snapshot go before it comes
 * back, because a snapshot that is held keeps LMDB from reusing pages and lets the file grow.
 */
import { checkBatchHeader } from '../batch.js';
import { HoldfastError } from '../errors.js';
import { comparePositions, START, type Position } from '../position.js';
import { decodeKey, keyBehind, type BatchKey, type StoredKey } from './key.js';
import { decodeNamed } from './positions.js';
import { openStore, type Store } from './store.js';

export interface Peek {
  /** In queue order, each with its checksum verified, none sharing memory with the queue. */
  readonly batches: readonly Buffer[];
  /** Values that failed their check: they are passed over, and the writer should set them aside. */
  readonly damaged: readonly Position[];
  /** Where the next peek goes on: the last batch seen, good or damaged; `after` where nothing was there. */
  readonly through: Position;
}

export class QueueReader {
  private constructor(
    private readonly store: Store,
    private readonly owned: boolean,
  ) {}

  /**
   * Opens a queue for reading only.
   * @param mode 'read' in the process of its writer, or while that keeps still (visit.ts); 'inspect' under its Lock
   * @throws HoldfastError queue_unreadable
   */
  static open(path: string, mode: 'read' | 'inspect' = 'read'): QueueReader {
    return new QueueReader(openStore(path, mode, 0), true);
  }

  /** A reader on the writer's own environment. */
  static on(store: Store): QueueReader {
    return new QueueReader(store, false);
  }

  /** The queue's id, or undefined where it was never fully made. */
  get id(): string | undefined {
    return this.#fresh().meta.get('id')?.toString('latin1');
  }

  /** Position of the last batch that was ever committed. */
  get head(): Position {
    return this.position('head') ?? START;
  }

  /** A named position kept in the queue: `released`, `cursor/<consumer>`, `source/<queue id>`. */
  position(name: string): Position | undefined {
    const value = this.#fresh().meta.get(name);
    return value === undefined ? undefined : decodeNamed(name, value);
  }

  /** All named positions whose name starts with `prefix`, by the rest of their names. */
  positions(prefix: string): Map<string, Position> {
    const found = new Map<string, Position>();
    for (const { key, value } of this.#fresh().meta.getRange({ start: prefix, end: `${prefix}\uffff` })) {
      if (key !== 'id') found.set(key.slice(prefix.length), decodeNamed(key, value));
    }
    return found;
  }

  /**
   * The batches after a position, oldest first, until they make up `maxBytes` (the last may go over it).
   * Values that fail their checksum or do not belong to their key are named in `damaged` and passed over.
   * @param last where to end at the latest: beside a live writer its head, because a commit can be read before the writer
   *   has heard that it is over, and what nobody vouches for yet must not go on to the next hop
   */
  peek(after: Position, maxBytes: number, last?: Position): Peek {
    const batches: Buffer[] = [];
    const damaged: Position[] = [];
    let through = after;
    let size = 0;
    const range = { start: keyBehind(after), ...(last === undefined ? {} : { end: keyBehind(last) }) };
    for (const { key, value } of this.#fresh().batches.getRange(range)) {
      const expected = decodeKey(key);
      through = expected.position;
      size += value.length;
      if (isWhole(value, expected)) batches.push(value);
      else damaged.push(expected.position);
      if (size >= maxBytes) break;
    }
    this.store.batches.resetReadTxn();
    return { batches, damaged, through };
  }

  /** The value of one batch as it lies in the file, whatever its state. */
  value(key: Buffer): Buffer | undefined {
    return this.#fresh().batches.get(key);
  }

  /** The keys after a position, oldest first, through `through` where it is given, at most `limit` of them. */
  *keys(after: Position, through?: Position, limit?: number): Generator<StoredKey> {
    const range = {
      start: keyBehind(after),
      ...(through === undefined ? {} : { end: keyBehind(through) }),
      ...(limit === undefined ? {} : { limit }),
    };
    for (const key of this.#fresh().batches.getKeys(range)) yield { ...decodeKey(key), key };
  }

  /** Closes the environment where this reader opened it. */
  async close(): Promise<void> {
    if (this.owned) await this.store.root.close();
  }

  #fresh(): Store {
    this.store.root.resetReadTxn();
    return this.store;
  }
}

function isWhole(value: Buffer, key: BatchKey): boolean {
  try {
    const header = checkBatchHeader(value);
    const isSize = header.records === key.records && value.length === key.bytes;
    return isSize && comparePositions(header.position, key.position) === 0;
  } catch (error) {
    if (error instanceof HoldfastError && error.code === 'bad_batch') return false;
    throw error;
  }
}
