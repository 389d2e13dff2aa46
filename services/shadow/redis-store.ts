/**
 * The store in Redis, or in a Redis Cluster: for shadows that outlive their machine, or that other programs read. How it lies
 * there and why is said in redis-scripts.ts, how a connection that is lost is dealt with in redis-connection.ts.
 *
 * A change is one call of one script. Where its reply is lost nobody knows whether it was made; the same Change (the same
 * object) is written again under its old number, and the script tells. Changes go one after the other.
 *
 * Redis may come back older than it was: with `appendfsync everysec` by a second or two, with a replica that took over by what it
 * had not received. Position, documents and number come back together, so nothing is torn; the writer hears `fenced`, its
 * process starts anew and applies the records again that the router keeps for that (unsafeMs).
 */
import { randomUUID } from 'node:crypto';
import { HoldfastError } from '../../shared/errors.js';
import type { Logger } from '../../shared/log.js';
import { comparePositions, formatPosition, START, type Position } from '../../shared/position.js';
import { checkChange, lastWrites } from './check-change.js';
import { OneAtATime } from './one-at-a-time.js';
import { RedisConnection, type RedisCommand, type ScriptArguments } from './redis-connection.js';
import { packArguments, packThings } from './redis-pack.js';
import { KeyPlace, keysOf, LIST, OPEN, WRITE } from './redis-scripts.js';
import type { Change, CommandWrite, ListedThing, Store } from './store.js';
import { listed, valueOf } from './stored-thing.js';

export interface RedisOptions {
  /** redis:// or rediss://; one: a server; several: nodes of one cluster. */
  readonly urls: readonly string[];
  /** Names the keys: one store a shard. */
  readonly shard: string;
  /** How much Redis may lose; see Store.unsafeMs. */
  readonly unsafeMs: number;
  readonly log: Logger;
  /** What Redis lists the connection as; absent: as that of the shard's shadow. */
  readonly clientName?: string;
  /** How long Redis may take to answer; 5 s where it is not given. */
  readonly timeoutMs?: number;
}

const TIMEOUT_MS = 5_000;
/** Values asked for at once: Redis does nothing else meanwhile. */
const LOAD_AT_ONCE = 1_000;

export class RedisStore implements Store {
  readonly unsafeMs: number;
  readonly #connection: RedisConnection;
  readonly #keys: readonly string[];
  readonly #shadowName: string;
  readonly #turns = new OneAtATime();
  /** Numbers of changes that were tried and not confirmed. */
  readonly #numbers = new WeakMap<Change, number>();
  #token: string | undefined;
  #lastNumber = 0;
  #confirmedNumber = 0;
  #fenced: HoldfastError | undefined;
  /** Why the store is not open yet, where opening it is worth another try. */
  #away: HoldfastError | undefined;

  constructor({ urls, shard, unsafeMs, log, clientName, timeoutMs = TIMEOUT_MS }: RedisOptions) {
    this.#shadowName = `holdfast-shadow-${encodeURIComponent(shard)}`;
    this.unsafeMs = unsafeMs;
    this.#connection = new RedisConnection(urls, clientName ?? this.#shadowName, log, timeoutMs);
    this.#keys = keysOf(shard);
  }

  get ready(): boolean {
    return this.#connection.ready && this.#token !== undefined && this.#fenced === undefined;
  }

  /** Whether the shard's shadow is connected. @throws HoldfastError store, as open */
  async isAtWork(): Promise<boolean> {
    await this.#connection.connect();
    return (await this.#connection.clientNames()).includes(this.#shadowName);
  }

  /** @throws HoldfastError store: with retry while Redis is away, without where its keys are not a store's */
  open(): Promise<void> {
    return this.#turns.run(async () => {
      try {
        await this.#open();
        this.#away = undefined;
      } catch (error) {
        // Whoever asks before Redis is there is told to try again, as when it goes later.
        if (error instanceof HoldfastError && error.retry) this.#away = error;
        throw error;
      }
    });
  }

  async position(queueId: string): Promise<Position> {
    const text = await this.#read('reading a position', (client) => client.hget(this.#key('positions'), queueId));
    return text === null ? START : parsePosition(text);
  }

  async load(things: readonly string[]): Promise<(Buffer | undefined)[]> {
    const stored = await this.#loadAll('loading things', this.#key('things'), things);
    // Copied, because it is a view of a whole packet from the network.
    return stored.map((bytes, index) => (bytes === null ? undefined : Buffer.from(valueOf(things[index]!, bytes))));
  }

  /** @throws HoldfastError as Store says, and store (no retry) for what Redis refuses for good */
  write(change: Change): Promise<void> {
    return this.#turns.run(() => this.#write(change));
  }

  async list(after: string, limit: number): Promise<ListedThing[]> {
    this.#assertOpen();
    if (limit <= 0) return [];
    const args = [after === '' ? '-' : `(${after}`, Math.floor(limit)];
    const reply = await this.#connection.runScriptBuffer('listing things', LIST, this.#keys, args);
    const parts = reply as readonly Buffer[];
    return Array.from({ length: parts.length / 2 }, (_, index) =>
      listed(parts[2 * index]!.toString('latin1'), parts[2 * index + 1]!),
    );
  }

  async loadCommands(ids: readonly string[]): Promise<(Buffer | undefined)[]> {
    const stored = await this.#loadAll('loading commands', this.#key('commands'), ids);
    return stored.map((bytes) => (bytes === null ? undefined : Buffer.from(bytes)));
  }

  async listCommands(thing: string, before: string, limit: number): Promise<string[]> {
    if (limit <= 0) return this.#nothing();
    const newest = before === '' ? `(${thing}\x01` : `(${orderMember(thing, before)}`;
    const oldest = `(${orderMember(thing, '')}`;
    const members = await this.#read('listing commands', (client) =>
      client.zrevrangebylex(this.#key('order'), newest, oldest, 'LIMIT', 0, Math.floor(limit)),
    );
    return members.map((member) => member.slice(thing.length + 1));
  }

  dueCommands(nowMs: number, limit: number): Promise<string[]> {
    if (limit <= 0 || !(nowMs >= 0)) return this.#nothing();
    return this.#read('listing due commands', (client) =>
      client.zrangebyscore(this.#key('due'), '-inf', nowMs, 'LIMIT', 0, Math.floor(limit)),
    );
  }

  close(): Promise<void> {
    return this.#turns.run(async () => {
      this.#token = undefined;
      this.#away = undefined;
      await this.#connection.close();
    });
  }

  async #open(): Promise<void> {
    await this.#connection.connect();
    const token = randomUUID();
    const obstacle = await this.#connection.runScript('opening the store', OPEN, this.#keys, [token]);
    if (obstacle !== '') {
      const message = `the store in Redis cannot be opened: ${String(obstacle)}; move that key away, or set SHADOW_SHARD`;
      throw new HoldfastError('store', message, false);
    }
    this.#token = token;
    this.#lastNumber = 0;
    this.#confirmedNumber = 0;
    this.#fenced = undefined;
  }

  async #write(change: Change): Promise<void> {
    const token = this.#assertOpen();
    if (this.#fenced !== undefined) throw this.#fenced;
    checkChange(change);
    const number = this.#numbers.get(change) ?? ++this.#lastNumber;
    this.#numbers.set(change, number);
    const { applied } = change;
    const args = [
      ...[token, this.#confirmedNumber, number, applied?.queueId ?? ''],
      ...(applied === undefined ? ['', ''] : [formatPosition(applied.from), formatPosition(applied.through)]),
      ...puts(change),
    ];
    const reply = await this.#connection.runScript('writing a change', WRITE, this.#keys, args);
    const [result, held] = reply as readonly [string, string];
    if (result !== 'written' && result !== 'already') {
      this.#fenced = fencedBy(result, held, change, this.#confirmedNumber);
      throw this.#fenced;
    }
    this.#confirmedNumber = number;
    this.#numbers.delete(change);
  }

  async #loadAll(doing: string, key: string, ids: readonly string[]): Promise<(Buffer | null)[]> {
    const parts: Promise<(Buffer | null)[]>[] = [];
    this.#assertOpen();
    for (let first = 0; first < ids.length; first += LOAD_AT_ONCE) {
      const some = ids.slice(first, first + LOAD_AT_ONCE);
      parts.push(this.#connection.run(doing, (client) => client.hmgetBuffer(key, ...some)));
    }
    return (await Promise.all(parts)).flat();
  }

  async #read<T>(doing: string, command: RedisCommand<T>): Promise<T> {
    this.#assertOpen();
    return this.#connection.run(doing, command);
  }

  async #nothing(): Promise<string[]> {
    this.#assertOpen();
    return Promise.resolve([]);
  }

  #key(name: keyof typeof KeyPlace): string {
    return this.#keys[KeyPlace[name] - 1]!;
  }

  /** @returns the writer's token */
  #assertOpen(): string {
    if (this.#token !== undefined) return this.#token;
    throw this.#away ?? new HoldfastError('store', 'the store in Redis is not open', false);
  }
}

/** What the script is to put: commands of Redis, each with the place of its key and its packed arguments. */
function puts({ things, commands }: Change): ScriptArguments {
  const args: (string | Buffer | number)[] = [];
  const add = (command: string, place: number, packs: readonly Buffer[]): void => {
    for (const pack of packs) args.push(command, place, pack);
  };
  const writes = [...lastWrites(commands)];
  const kept = writes.filter(isKept);
  const removed = writes.filter((write) => !isKept(write));
  const put = (name: keyof typeof KeyPlace, command: string, values: readonly (string | Buffer | number)[]): void =>
    add(command, KeyPlace[name], packArguments(values));

  add('HSET', KeyPlace.things, packThings(things));
  put(
    'commands',
    'HSET',
    kept.flatMap(({ id, value }) => [id, value]),
  );
  put(
    'order',
    'ZADD',
    kept.flatMap(({ id, thing }) => [0, orderMember(thing, id)]),
  );
  put(
    'due',
    'ZADD',
    kept.flatMap(({ id, dueMs }) => [dueMs, id]),
  );
  put(
    'commands',
    'HDEL',
    removed.map(({ id }) => id),
  );
  put(
    'order',
    'ZREM',
    removed.map(({ id, thing }) => orderMember(thing, id)),
  );
  put(
    'due',
    'ZREM',
    removed.map(({ id }) => id),
  );
  return args;
}

function isKept(write: CommandWrite): write is CommandWrite & { readonly value: Buffer } {
  return write.value !== undefined;
}

function orderMember(thing: string, id: string): string {
  return `${thing}\0${id}`;
}

/** Why a change was not made. */
function fencedBy(result: string, held: string, { applied }: Change, confirmedNumber: number): HoldfastError {
  const again = 'start shadow again: it applies what is missing from the position that Redis holds';
  return new HoldfastError('fenced', `a change was refused: ${reason()}; ${again}`, false);

  function reason(): string {
    if (result === 'token') {
      return held === '' ? 'Redis has lost all that it held' : 'another shadow has opened the store since';
    }
    if (result === 'number') {
      return Number(held) < confirmedNumber
        ? `Redis has lost the last changes: it holds number ${held} of ${confirmedNumber}`
        : `a later one, number ${held}, was made since it was first tried`;
    }
    const from = applied?.from ?? START;
    const isBehind = comparePositions(parsePosition(held), from) < 0;
    const what = isBehind ? 'Redis has lost the last positions' : 'its position was moved by somebody else';
    return `${what}: it holds ${held}, the change starts from ${formatPosition(from)}`;
  }
}

/** @throws HoldfastError store where the text is no position */
function parsePosition(text: string): Position {
  const [epoch, offset] = text.split(':').map(Number) as [number, number?];
  if (Number.isSafeInteger(epoch) && Number.isSafeInteger(offset)) return { epoch, offset: offset! };
  throw new HoldfastError('store', `a position in Redis says ${JSON.stringify(text)}, not epoch:offset`, false);
}
