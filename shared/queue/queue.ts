/**
 * The durable queue: an append-only FIFO of batches over LMDB (lmdb-js), written once and used by edge and router.
 *
 *   append   one fsynced transaction: the batches, the head, named positions given with it, positions set since the last
 *            one, and the deletion of what was released before. It resolves when all of that is on disk.
 *   release  says that batches are needed no more. The deletion rides in the next append, or in a transaction of its own
 *            after an idle moment. After a crash a released batch may be there again; whoever gets it knows its position.
 *   retain   released batches stay for replay until they exceed `retainBytes`.
 *
 * One writer, which lock.ts and fence.ts see to. LMDB must never meet a full disk, because going on after a failed commit corrupts its heap: appends are
 * refused over a quota and under a floor of free disk, before they start, and the first commit that fails all the same
 * ends the process (`onFailure`).
 */
import { mkdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { recordCount, stampBatch } from '../batch.js';
import { HoldfastError, messageOf } from '../errors.js';
import type { QueueGauges } from '../metrics.js';
import { comparePositions, formatPosition, START, type Position } from '../position.js';
import { encodeKey, type StoredKey } from './key.js';
import { Lock } from './lock.js';
import { olderCopy, refusalOf, sizeOf, type QueueOptions } from './options.js';
import { NamedPositions, putPositions, type NamedPosition } from './positions.js';
import { Quarantine } from './quarantine.js';
import { QueueReader, type Peek } from './reader.js';
import { DATA_FILE, establishId, openStore, unreadable, type Store } from './store.js';
import { Transactions } from './transactions.js';

export type { NamedPosition, QueueOptions };

/** Deletions that ride in one transaction: bounds its length. */
const RECLAIM_BATCHES = 512;
/** How long released batches and set positions wait for an append to ride in. */
const IDLE_FLUSH_MS = 50;

export class Queue {
  readonly #store: Store;
  readonly #lock: Lock;
  readonly #transactions: Transactions;
  readonly #reader: QueueReader;
  readonly #quarantine: Quarantine;
  readonly #positions: NamedPositions;
  /** Batches on their way to quarantine, which readers see until that is committed. */
  readonly #leaving = new Set<string>();
  readonly #listeners: ((head: Position) => void)[] = [];
  #lastOffset: number;
  #head: Position;
  #released: Position;
  #reclaimed = START;
  #records = 0;
  #bytes = 0;
  #retainedBytes = 0;
  #appendingBytes = 0;
  #flushTimer: NodeJS.Timeout | undefined;
  #closed = false;

  /** The queue's id, a UUID. */
  readonly id: string;

  private constructor(
    readonly path: string,
    private readonly options: QueueOptions,
    lock: Lock,
  ) {
    this.#lock = lock;
    this.#store = openStore(path, 'write', options.quotaBytes + options.retainBytes);
    this.#reader = QueueReader.on(this.#store);
    this.#quarantine = new Quarantine(path);
    this.id = establishId(path, this.#store);
    // From here on nobody else can commit, so what is read next belongs together.
    this.#transactions = new Transactions(path, this.#store, options.onFailure);
    lock.welcome(this.#transactions);
    this.#positions = new NamedPositions(this.#reader.positions(''));
    this.#head = this.#positions.get('head') ?? START;
    this.#lastOffset = this.#head.offset;
    this.#released = this.#positions.get('released') ?? START;
    this.#count();
  }

  /**
   * Opens the queue in a directory, made where there is none, and takes a new epoch.
   * @throws HoldfastError queue_locked where another process writes it; queue_unreadable: never replaced by an empty queue
   */
  static open(path: string, options: QueueOptions): Queue {
    mkdirSync(path, { recursive: true });
    const lock = Lock.take(path);
    try {
      return new Queue(path, options, lock);
    } catch (error) {
      lock.release();
      throw error instanceof HoldfastError ? error : unreadable(path, messageOf(error), error);
    }
  }

  /** The last batch that is on disk. */
  get head(): Position {
    return this.#head;
  }

  /** The last batch that was released. */
  get released(): Position {
    return this.#released;
  }

  /** Calls back with the head after every commit that appended. */
  onAppend(listener: (head: Position) => void): void {
    this.#listeners.push(listener);
  }

  /** Why an append of `bytes` more would be refused now, or undefined. */
  refusal(bytes: number): HoldfastError | undefined {
    const { refusal } = this.#transactions;
    return refusal ?? refusalOf(this.path, this.options, this.#bytes, this.#appendingBytes, bytes);
  }

  /**
   * Commits batches, in order, together with named positions, in one fsynced transaction. The batches' position, time and
   * checksum are written into their own memory, which must not be touched until the promise settles.
   * @returns the position of the last batch, once all is on disk
   * @throws HoldfastError queue_full or disk_low (retry) or bad_batch before anything is written; commit_failed or fenced,
   *   which end the process
   */
  async append(batches: readonly Buffer[], positions: readonly NamedPosition[] = []): Promise<Position> {
    const bytes = sizeOf(batches);
    const refusal = this.refusal(bytes);
    if (refusal !== undefined) throw refusal;
    const committedMs = Date.now();
    const first = this.#lastOffset + 1;
    this.#lastOffset += batches.length;
    this.#appendingBytes += bytes;
    const head = { epoch: this.#transactions.epoch, offset: this.#lastOffset };
    const named: readonly NamedPosition[] = [...positions, ['head', head]];
    await this.#commit(() => {
      batches.forEach((batch, index) => this.#put(batch, first + index, committedMs));
      putPositions(this.#store, named);
    });
    this.#appendingBytes -= bytes;
    this.#bytes += bytes;
    for (const batch of batches) this.#records += recordCount(batch);
    this.#positions.adopt(named);
    this.#head = head;
    for (const listener of this.#listeners) listener(head);
    return head;
  }

  /** The batches after a position; what fails its checksum is set aside in quarantine/. See QueueReader.peek. */
  peek(after: Position, maxBytes: number): Peek {
    const peek = this.#reader.peek(after, maxBytes, this.#head);
    for (const position of peek.damaged) this.quarantine(position);
    return peek;
  }

  /**
   * Says that every batch through `position` is needed no more, but for replay.
   * @throws HoldfastError fenced where this queue never came to that position: somebody has what will be lost here
   */
  release(position: Position): void {
    if (comparePositions(position, this.#released) <= 0) return;
    const { epoch } = this.#transactions;
    const end = this.#head.epoch === epoch ? this.#head : { epoch, offset: 0 };
    if (comparePositions(position, end) > 0) throw olderCopy(this.path, position, this.#head);
    for (const key of this.#keys(this.#released, position)) {
      this.#records -= key.records;
      this.#bytes -= key.bytes;
      this.#retainedBytes += key.bytes;
    }
    this.#released = position;
    this.setPosition('released', position);
  }

  /** Keeps a named position; it becomes durable with the next append, or shortly after. */
  setPosition(name: string, position: Position): void {
    this.#positions.set(name, position);
    this.#flushSoon();
  }

  /** Forgets a named position, durably. */
  async removePosition(name: string): Promise<void> {
    this.#positions.delete(name);
    await this.#commit(() => void this.#store.meta.remove(name));
  }

  /** A named position as it was last set, durable or not yet. */
  position(name: string): Position | undefined {
    return this.#positions.get(name);
  }

  /** All named positions whose name starts with `prefix`, by the rest of their names. */
  positions(prefix: string): Map<string, Position> {
    return this.#positions.startingWith(prefix);
  }

  /** Moves a damaged batch's value to quarantine/ and counts it; the rest of the queue flows on. */
  quarantine(position: Position): void {
    const [key] = this.#keys({ ...position, offset: position.offset - 1 }, position);
    const value = key && this.#reader.value(key.key);
    if (key === undefined || value === undefined || comparePositions(position, this.#reclaimed) <= 0) return;
    this.#quarantine.keep(position, value);
    if (comparePositions(position, this.#released) > 0) {
      this.#records -= key.records;
      this.#bytes -= key.bytes;
    } else {
      this.#retainedBytes -= key.bytes;
    }
    const name = formatPosition(position);
    this.#leaving.add(name);
    const removed = this.#commit(() => void this.#store.batches.remove(key.key));
    this.#transactions.inBackground(removed.then(() => this.#leaving.delete(name)));
  }

  /** What the gauges show. */
  stats(): QueueGauges {
    const [oldest] = this.#keys(this.#released, undefined, 1);
    return {
      records: this.#records,
      bytes: this.#bytes,
      quotaBytes: this.options.quotaBytes,
      oldestSeconds: oldest === undefined ? 0 : Math.max(0, (Date.now() - oldest.committedMs) / 1000),
      fileBytes: statSync(join(this.path, DATA_FILE)).size,
      retainedBytes: this.#retainedBytes,
      quarantined: this.#quarantine.count,
    };
  }

  /** Unreleased records; cheap, for the process title. */
  get records(): number {
    return this.#records;
  }

  /** Writes what was set but not flushed, waits for commits under way, and closes the environment. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    clearTimeout(this.#flushTimer);
    if (this.#positions.waiting && this.#transactions.refusal === undefined) {
      this.#transactions.inBackground(this.#commit(() => undefined));
    }
    await this.#transactions.close();
    await this.#store.root.close();
    this.#lock.release();
  }

  #put(batch: Buffer, offset: number, committedMs: number): void {
    const position = { epoch: this.#transactions.epoch, offset };
    stampBatch(batch, position, committedMs);
    const key = encodeKey({ position, records: recordCount(batch), bytes: batch.length, committedMs });
    void this.#store.batches.put(key, batch);
  }

  /** Runs writes as one transaction, with whatever waits to ride along. */
  #commit(write: () => void): Promise<void> {
    const riding = this.#positions.take();
    return this.#transactions.run(() => {
      putPositions(this.#store, riding);
      write();
      this.#reclaim();
    });
  }

  /** Deletes what was released and is over what is retained, oldest first; part of a transaction. */
  #reclaim(): void {
    if (this.#retainedBytes <= this.options.retainBytes) return;
    for (const key of this.#keys(this.#reclaimed, this.#released, RECLAIM_BATCHES)) {
      if (this.#retainedBytes <= this.options.retainBytes) return;
      void this.#store.batches.remove(key.key);
      this.#retainedBytes -= key.bytes;
      this.#reclaimed = key.position;
    }
    this.#flushSoon();
  }

  #flushSoon(): void {
    if (this.#closed) return;
    this.#flushTimer ??= setTimeout(() => {
      this.#flushTimer = undefined;
      const waiting = this.#positions.waiting || this.#retainedBytes > this.options.retainBytes;
      if (waiting) this.#transactions.inBackground(this.#commit(() => undefined));
    }, IDLE_FLUSH_MS);
  }

  /** Keys as QueueReader.keys, without those that are leaving. */
  *#keys(after: Position, through?: Position, limit?: number): Generator<StoredKey> {
    for (const key of this.#reader.keys(after, through, limit)) {
      if (this.#leaving.size === 0 || !this.#leaving.has(formatPosition(key.position))) yield key;
    }
  }

  /** Adds up what lies in the file: once, at open. */
  #count(): void {
    for (const key of this.#reader.keys(START)) {
      if (comparePositions(key.position, this.#released) > 0) {
        this.#records += key.records;
        this.#bytes += key.bytes;
      } else {
        this.#retainedBytes += key.bytes;
      }
      if (comparePositions(key.position, this.#head) > 0) throw unreadable(this.path, 'a batch stands after the head');
    }
  }
}
