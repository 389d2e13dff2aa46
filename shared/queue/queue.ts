/**
 * The durable queue: an append-only FIFO of batches over LMDB (lmdb-js), written once and used by edge and router.
 *
 *   append   one fsynced transaction: the batches, the head, named positions given with it, positions set since the last
 *            one, and the deletion of what was released before. It resolves when all of that is on disk.
 *   release  says that batches are needed no more. No transaction of its own: the deletion rides in the next append, or
 *            in one of its own after an idle moment. After a crash a released batch may be there again; whoever gets it
 *            again knows its position.
 *   retain   released batches stay for replay until they exceed `retainBytes`.
 *
 * One writer. LMDB must never meet a full disk, because going on after a failed commit corrupts its heap: appends are
 * refused over a quota and under a floor of free disk, before they start, and the first commit that fails all the same
 * ends the process (`onFailure`).
 */
import { mkdirSync, statfsSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { recordCount, stampBatch } from '../batch.js';
import { HoldfastError, messageOf } from '../errors.js';
import type { QueueGauges } from '../metrics.js';
import { comparePositions, encodePosition, formatPosition, START, type Position } from '../position.js';
import { encodeKey } from './key.js';
import { QueueReader, type Peek } from './reader.js';
import { DATA_FILE, establishId, openStore, syncDirectory, type Store } from './store.js';

export interface QueueOptions {
  /** Bytes of unreleased batches at which appends are refused. */
  readonly quotaBytes: number;
  /** Free bytes on the file system below which appends are refused. */
  readonly diskFloorBytes: number;
  /** Bytes of released batches kept for replay. */
  readonly retainBytes: number;
  /** Called once, when a commit failed: the process must end. */
  readonly onFailure: (error: HoldfastError) => void;
}

export type NamedPosition = readonly [name: string, position: Position];

/** Deletions that ride in one transaction: bounds its length. */
const RECLAIM_BATCHES = 512;
/** How long released batches and set positions wait for an append to ride in. */
const IDLE_FLUSH_MS = 50;
const QUARANTINE_DIRECTORY = 'quarantine';

export class Queue {
  readonly #store: Store;
  readonly #reader: QueueReader;
  readonly #unflushed = new Map<string, Position>();
  readonly #listeners: ((head: Position) => void)[] = [];
  readonly #epoch: number;
  #lastOffset: number;
  #head: Position;
  #released: Position;
  #reclaimed = START;
  #records = 0;
  #bytes = 0;
  #retainedBytes = 0;
  #appendingBytes = 0;
  #quarantined = 0;
  #flushTimer: NodeJS.Timeout | undefined;
  #commits: Promise<unknown> = Promise.resolve();
  #state: 'open' | 'failed' | 'closed' = 'open';

  /** The queue's id, a UUID. */
  readonly id: string;

  private constructor(
    readonly path: string,
    private readonly options: QueueOptions,
  ) {
    this.#store = openStore(path, 'write', options.quotaBytes + options.retainBytes);
    this.#reader = QueueReader.on(this.#store);
    this.id = establishId(path, this.#store);
    this.#head = this.#reader.head;
    this.#lastOffset = this.#head.offset;
    this.#released = this.#reader.position('released') ?? START;
    const last = this.#reader.position('epoch') ?? START;
    this.#epoch = Math.max(last.epoch + 1, Date.now());
    this.#store.meta.putSync('epoch', encodePosition({ epoch: this.#epoch, offset: 0 }));
    this.#count();
  }

  /**
   * Opens the queue in a directory, made where there is none, and takes a new epoch.
   * @throws HoldfastError queue_unreadable: never replaced by an empty queue
   */
  static open(path: string, options: QueueOptions): Queue {
    return new Queue(path, options);
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
    if (this.#state !== 'open') return new HoldfastError('queue_closed', `the queue in ${this.path} is closed`, false);
    const { quotaBytes, diskFloorBytes } = this.options;
    if (this.#bytes + this.#appendingBytes + bytes > quotaBytes) {
      const message = `the queue in ${this.path} is at its quota of ${quotaBytes} bytes; it goes on when batches are released`;
      return new HoldfastError('queue_full', message, true);
    }
    const disk = statfsSync(this.path);
    if (disk.bavail * disk.bsize < diskFloorBytes + this.#appendingBytes + 2 * bytes) {
      const message = `the disk of ${this.path} is down to its floor of ${diskFloorBytes} free bytes; free some space`;
      return new HoldfastError('disk_low', message, true);
    }
    return undefined;
  }

  /**
   * Commits batches, in order, together with named positions, in one fsynced transaction. The batches' position, time and
   * checksum are written into their own memory, which must not be touched until the promise settles.
   * @returns the position of the last batch, once all is on disk
   * @throws HoldfastError queue_full or disk_low (retry) before anything is written; commit_failed, which ends the process
   */
  async append(batches: readonly Buffer[], positions: readonly NamedPosition[] = []): Promise<Position> {
    const bytes = batches.reduce((sum, batch) => sum + batch.length, 0);
    const refusal = this.refusal(bytes);
    if (refusal !== undefined) throw refusal;
    const committedMs = Date.now();
    const first = this.#lastOffset + 1;
    this.#lastOffset += batches.length;
    this.#appendingBytes += bytes;
    const head = { epoch: this.#epoch, offset: this.#lastOffset };
    await this.#commit(() => {
      batches.forEach((batch, index) => this.#put(batch, first + index, committedMs));
      void this.#store.meta.put('head', encodePosition(head));
      for (const [name, position] of positions) void this.#store.meta.put(name, encodePosition(position));
    });
    this.#appendingBytes -= bytes;
    this.#bytes += bytes;
    for (const batch of batches) this.#records += recordCount(batch);
    this.#head = head;
    for (const listener of this.#listeners) listener(head);
    return head;
  }

  /** The batches after a position; what fails its checksum is set aside in quarantine/. See QueueReader.peek. */
  peek(after: Position, maxBytes: number): Peek {
    const peek = this.#reader.peek(after, maxBytes);
    for (const position of peek.damaged) this.quarantine(position);
    return peek;
  }

  /** Says that every batch through `position` is needed no more, but for replay. */
  release(position: Position): void {
    if (comparePositions(position, this.#released) <= 0) return;
    for (const key of this.#reader.keys(this.#released, position)) {
      this.#records -= key.records;
      this.#bytes -= key.bytes;
      this.#retainedBytes += key.bytes;
    }
    this.#released = position;
    this.setPosition('released', position);
  }

  /** Keeps a named position; it becomes durable with the next append, or shortly after. */
  setPosition(name: string, position: Position): void {
    this.#unflushed.set(name, position);
    this.#flushSoon();
  }

  /** Forgets a named position, durably. */
  async removePosition(name: string): Promise<void> {
    this.#unflushed.delete(name);
    await this.#commit(() => void this.#store.meta.remove(name));
  }

  position(name: string): Position | undefined {
    return this.#unflushed.get(name) ?? this.#reader.position(name);
  }

  positions(prefix: string): Map<string, Position> {
    const found = this.#reader.positions(prefix);
    for (const [name, position] of this.#unflushed) {
      if (name.startsWith(prefix)) found.set(name.slice(prefix.length), position);
    }
    return found;
  }

  /** Moves a damaged batch's value to quarantine/ and counts it; the rest of the queue flows on. */
  quarantine(position: Position): void {
    const before = { epoch: position.epoch, offset: position.offset - 1 };
    for (const key of [...this.#reader.keys(before, position)]) {
      const value = this.#reader.value(key.key);
      if (value === undefined) continue;
      const directory = join(this.path, QUARANTINE_DIRECTORY);
      mkdirSync(directory, { recursive: true });
      const file = `${formatPosition(position).replace(':', '-')}.batch`;
      writeFileSync(join(directory, file), value, { flush: true });
      syncDirectory(directory);
      this.#quarantined++;
      if (comparePositions(position, this.#released) > 0) {
        this.#records -= key.records;
        this.#bytes -= key.bytes;
      } else {
        this.#retainedBytes -= key.bytes;
      }
      void this.#commit(() => void this.#store.batches.remove(key.key));
    }
  }

  /** What the gauges show. */
  stats(): QueueGauges {
    const [oldest] = this.#reader.keys(this.#released, undefined, 1);
    return {
      records: this.#records,
      bytes: this.#bytes,
      quotaBytes: this.options.quotaBytes,
      oldestSeconds: oldest === undefined ? 0 : Math.max(0, (Date.now() - oldest.committedMs) / 1000),
      fileBytes: statSync(join(this.path, DATA_FILE)).size,
      retainedBytes: this.#retainedBytes,
      quarantined: this.#quarantined,
    };
  }

  /** Unreleased records; cheap, for the process title. */
  get records(): number {
    return this.#records;
  }

  /** Waits for commits under way, writes what was set but not flushed, and closes the environment. */
  async close(): Promise<void> {
    if (this.#state === 'closed') return;
    clearTimeout(this.#flushTimer);
    if (this.#state === 'open' && this.#unflushed.size > 0) await this.#commit(() => undefined);
    await this.#commits;
    this.#state = 'closed';
    await this.#store.root.close();
  }

  #put(batch: Buffer, offset: number, committedMs: number): void {
    const position = { epoch: this.#epoch, offset };
    stampBatch(batch, position, committedMs);
    const key = encodeKey({ position, records: recordCount(batch), bytes: batch.length, committedMs });
    void this.#store.batches.put(key, batch);
  }

  /** Runs writes as one transaction, with whatever waits to ride along. */
  async #commit(write: () => void): Promise<void> {
    if (this.#state !== 'open') throw new HoldfastError('queue_closed', `the queue in ${this.path} is closed`, false);
    const flushed = [...this.#unflushed];
    this.#unflushed.clear();
    const commit = this.#store.root.batch(() => {
      write();
      for (const [name, position] of flushed) void this.#store.meta.put(name, encodePosition(position));
      this.#reclaim();
    });
    this.#commits = commit;
    try {
      await commit;
    } catch (error) {
      throw await this.#fail(error);
    }
  }

  /** Deletes what was released and is over what is retained, oldest first; part of a transaction. */
  #reclaim(): void {
    if (this.#retainedBytes <= this.options.retainBytes) return;
    for (const key of this.#reader.keys(this.#reclaimed, this.#released, RECLAIM_BATCHES)) {
      if (this.#retainedBytes <= this.options.retainBytes) return;
      void this.#store.batches.remove(key.key);
      this.#retainedBytes -= key.bytes;
      this.#reclaimed = key.position;
    }
    this.#flushSoon();
  }

  #flushSoon(): void {
    this.#flushTimer ??= setTimeout(() => {
      this.#flushTimer = undefined;
      const waiting = this.#unflushed.size > 0 || this.#retainedBytes > this.options.retainBytes;
      // A commit that fails has called onFailure, which ends the process: nobody else waits for this one.
      if (waiting && this.#state === 'open') void this.#commit(() => undefined);
    }, IDLE_FLUSH_MS);
  }

  async #fail(error: unknown): Promise<HoldfastError> {
    let cause = error;
    if (error instanceof Error && 'commitError' in error) {
      // lmdb-js hides LMDB's own words in a promise that rejects with them.
      cause = await Promise.resolve(error.commitError).catch((reason: unknown) => reason);
    }
    const message = `a commit to the queue in ${this.path} failed: ${messageOf(cause)}; nothing of it was acked`;
    const failure = new HoldfastError('commit_failed', message, false, cause);
    if (this.#state === 'open') {
      this.#state = 'failed';
      this.options.onFailure(failure);
    }
    return failure;
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
    }
  }
}
