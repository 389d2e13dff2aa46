/**
 * The store in LMDB: the embedded default. A change is one fsynced transaction, fenced by the epoch of the last open, which
 * LMDB compares within the transaction (shared/queue/fence.ts); lock.ts says at once that somebody else has the store open.
 *
 * The values of a change are written into one buffer: LMDB takes a pointer for each, and one buffer has one address to ask
 * for. Within the block of the fence a put is no promise, only an instruction for LMDB's thread, which starts to carry them
 * out while the later ones are still being written: about 1 µs a thing on the JavaScript thread, instructions and copy.
 *
 * Reads are synchronous and take a fresh snapshot, which lmdb-js lets go with the turn of the event loop. The first commit
 * that fails is the last one: LMDB must not be used after that, and the process ends.
 */
import { mkdirSync } from 'node:fs';
import { HoldfastError, messageOf } from '../../shared/errors.js';
import {
  comparePositions,
  encodePosition,
  formatPosition,
  readPosition,
  START,
  type Position,
} from '../../shared/position.js';
import { Lock } from '../../shared/queue/lock.js';
import { causeOfFailure } from '../../shared/queue/store.js';
import { checkChange, isId, lastWrites } from './check-change.js';
import { LmdbEnvironment, type LmdbOptions } from './lmdb-environment.js';
import { OneAtATime } from './one-at-a-time.js';
import type { Change, CommandWrite, ListedThing, Store, ThingWrite } from './store.js';
import { boundOf, listed, valueOf, writeStored } from './stored-thing.js';

export type { LmdbOptions };

const DUE_BYTES = 8;
const MAX_KEPT_BYTES = 64 * 1024 * 1024;
/** The value of an entry whose key says it all. */
const NOTHING = Buffer.of(0);

export class LmdbStore implements Store {
  readonly unsafeMs = 0;
  readonly #options: LmdbOptions;
  readonly #turns = new OneAtATime();
  #lock: Lock | undefined;
  #environment: LmdbEnvironment | undefined;
  #failure: HoldfastError | undefined;
  /** For the values of a change; written again by the next one, for the reason in value-writer.ts. */
  #values = Buffer.alloc(0);

  constructor(options: LmdbOptions) {
    this.#options = options;
  }

  get ready(): boolean {
    return this.#environment !== undefined && this.#failure === undefined;
  }

  /**
   * @throws HoldfastError store: with retry where another process has the store open, without where the directory holds no
   *   whole store
   */
  open(): Promise<void> {
    return this.#turns.run(() => {
      if (this.#failure !== undefined) throw this.#failure;
      if (this.#environment === undefined) this.#openHere();
      return Promise.resolve();
    });
  }

  position(queueId: string): Promise<Position> {
    return this.#read((environment) => storedPosition(environment, queueId));
  }

  load(things: readonly string[]): Promise<(Buffer | undefined)[]> {
    return this.#read((environment) =>
      things.map((thing) => {
        const stored = isId(thing) ? environment.things.getBinary(thing) : undefined;
        return stored === undefined ? undefined : valueOf(thing, stored);
      }),
    );
  }

  /**
   * @throws HoldfastError store (retry) under the floor of the disk or with the file at its most, with nothing written;
   *   commit_failed and fenced, after which the process must end
   */
  write(change: Change): Promise<void> {
    return this.#turns.run(() => this.#write(change));
  }

  list(after: string, limit: number): Promise<ListedThing[]> {
    // What comes right behind `after` is `after` with the smallest character.
    const range = { start: `${after}\0`, limit };
    return this.#read((environment) => {
      if (limit <= 0) return [];
      return [...environment.things.getRange(range)].map(({ key, value }) => listed(key, value));
    });
  }

  loadCommands(ids: readonly string[]): Promise<(Buffer | undefined)[]> {
    return this.#read((environment) =>
      ids.map((id) => (isId(id) ? environment.commands.getBinary(id)?.subarray(DUE_BYTES) : undefined)),
    );
  }

  listCommands(thing: string, before: string, limit: number): Promise<string[]> {
    const newest = before === '' ? `${thing}\x01` : orderKey(thing, before);
    const range = { start: newest, end: orderKey(thing, ''), reverse: true, exclusiveStart: true, limit };
    return this.#read((environment) => {
      if (limit <= 0) return [];
      return [...environment.order.getKeys(range)].map((key) => key.slice(thing.length + 1));
    });
  }

  dueCommands(nowMs: number, limit: number): Promise<string[]> {
    return this.#read((environment) => {
      if (limit <= 0 || !(nowMs >= 0)) return [];
      const range = { start: Buffer.alloc(1), end: dueKey(nowMs, '\xff'), limit };
      return [...environment.due.getKeys(range)].map((key) => key.toString('latin1', DUE_BYTES));
    });
  }

  close(): Promise<void> {
    return this.#turns.run(async () => {
      const environment = this.#environment;
      this.#environment = undefined;
      await environment?.root.close();
      this.#lock?.release();
      this.#lock = undefined;
    });
  }

  #openHere(): void {
    const { path } = this.#options;
    mkdirSync(path, { recursive: true });
    const lock = takeLock(path);
    try {
      this.#environment = LmdbEnvironment.open(this.#options);
      this.#lock = lock;
    } catch (error) {
      lock.release();
      throw error;
    }
  }

  async #write(change: Change): Promise<void> {
    const environment = this.#opened();
    if (this.#failure !== undefined) throw this.#failure;
    checkChange(change);
    environment.root.resetReadTxn();
    const refusal = environment.refusal(change);
    if (refusal !== undefined) throw refusal;
    const { applied } = change;
    if (applied !== undefined) this.#checkPosition(storedPosition(environment, applied.queueId), applied.from);
    const put = prepare(environment, change, this.#buffer(change));
    let isOurs: boolean;
    try {
      isOurs = await environment.fence.commit(put);
    } catch (error) {
      const cause = await causeOfFailure(error);
      throw this.#fail('commit_failed', `failed: ${messageOf(cause)}; nothing of it was confirmed`, cause);
    }
    if (!isOurs) throw this.#fail('fenced', 'was refused: another process has opened the store since');
  }

  #buffer({ things }: Change): Buffer {
    const bytes = things.reduce((sum, thing) => sum + boundOf(thing), 0);
    if (bytes > MAX_KEPT_BYTES) return Buffer.allocUnsafeSlow(bytes);
    if (bytes > this.#values.length) this.#values = Buffer.allocUnsafeSlow(bytes);
    return this.#values;
  }

  #checkPosition(stored: Position, from: Position): void {
    if (comparePositions(stored, from) === 0) return;
    const what = `was refused: it starts from ${formatPosition(from)}, the store is at ${formatPosition(stored)}`;
    throw this.#fail('fenced', what);
  }

  #fail(code: 'commit_failed' | 'fenced', what: string, cause?: unknown): HoldfastError {
    const message = `a commit to the store in ${this.#options.path} ${what}`;
    this.#failure = new HoldfastError(code, message, false, cause);
    return this.#failure;
  }

  async #read<T>(read: (environment: LmdbEnvironment) => T): Promise<T> {
    const environment = this.#opened();
    environment.root.resetReadTxn();
    return Promise.resolve(read(environment));
  }

  #opened(): LmdbEnvironment {
    if (this.#environment !== undefined) return this.#environment;
    throw new HoldfastError('store', `the store in ${this.#options.path} is not open`, false);
  }
}

/** What puts a change within a transaction, and cannot fail: everything that can is done here. */
function prepare(environment: LmdbEnvironment, { applied, things, commands }: Change, buffer: Buffer): () => void {
  const values = storedValues(things, buffer);
  const changes = [...lastWrites(commands)].map((command) => prepareCommand(environment, command));
  const position = applied === undefined ? undefined : encodePosition(applied.through);
  return () => {
    for (const [index, { thing }] of things.entries()) void environment.things.put(thing, values[index]!);
    for (const change of changes) change();
    if (applied !== undefined) void environment.meta.put(positionKey(applied.queueId), position!);
  };
}

/** The stored bytes of things, as views of one buffer with room for them. */
function storedValues(things: readonly ThingWrite[], buffer: Buffer): Buffer[] {
  let at = 0;
  return things.map((thing) => {
    const start = at;
    at = writeStored(buffer, at, thing);
    return buffer.subarray(start, at);
  });
}

function prepareCommand(environment: LmdbEnvironment, { id, thing, value, dueMs }: CommandWrite): () => void {
  const { commands, order, due } = environment;
  const lastDueMs = commands.getBinary(id)?.readDoubleLE(0);
  const lastKey = lastDueMs === undefined ? undefined : dueKey(lastDueMs, id);
  const key = dueKey(dueMs, id);
  const stored = Buffer.allocUnsafe(DUE_BYTES + (value?.length ?? 0));
  stored.writeDoubleLE(dueMs, 0);
  if (value !== undefined) stored.set(value, DUE_BYTES);
  return () => {
    if (lastKey !== undefined) void due.remove(lastKey);
    if (value === undefined) {
      void order.remove(orderKey(thing, id));
      void commands.remove(id);
    } else {
      void order.put(orderKey(thing, id), NOTHING);
      void due.put(key, NOTHING);
      void commands.put(id, stored);
    }
  };
}

function storedPosition(environment: LmdbEnvironment, queueId: string): Position {
  const stored = environment.meta.getBinary(positionKey(queueId));
  if (stored === undefined) return START;
  const position = readPosition(stored, 0);
  if (position !== undefined) return position;
  throw new HoldfastError('store', `the position of queue ${queueId} in the store is damaged`, false);
}

function positionKey(queueId: string): string {
  return `position/${queueId}`;
}

function orderKey(thing: string, id: string): string {
  return `${thing}\0${id}`;
}

function dueKey(dueMs: number, id: string): Buffer {
  const key = Buffer.allocUnsafe(DUE_BYTES + id.length);
  // Minus zero would come behind everything.
  key.writeDoubleBE(dueMs + 0, 0);
  key.write(id, DUE_BYTES, 'latin1');
  return key;
}

function takeLock(path: string): Lock {
  try {
    return Lock.take(path);
  } catch (error) {
    const message = `the store in ${path} is at work in another process; a store has one writer`;
    throw new HoldfastError('store', message, true, error);
  }
}
