/**
 * Shadow's engine as a bench runs it within a process of its own: the real store, Things and Apply with the defaults of
 * services/shadow/config.ts, fed with batches from memory in the place of a router. Everything about what is durable is
 * read from the store's own writes.
 */
import { pino } from 'pino';
import { Apply, type ResultTaker } from '../services/shadow/apply.js';
import { readShadowConfig } from '../services/shadow/config.js';
import { LmdbStore } from '../services/shadow/lmdb-store.js';
import { RedisStore } from '../services/shadow/redis-store.js';
import type { Change, Store } from '../services/shadow/store.js';
import { Things } from '../services/shadow/things.js';
import { readBatchHeader } from '../shared/batch.js';
import type { Delivery, DeliverySource } from '../shared/delivery.js';
import { Registry } from '../shared/metrics.js';
import { comparePositions, START, type Position } from '../shared/position.js';
import { Signal } from '../shared/signal.js';
import { REPORTS_QUEUE_ID } from './shadow-reports.js';

const LOOK_EVERY_MS = 1_000;
const log = pino({ level: 'warn' });

/** The store that SHADOW_STORE and the other variables name, not opened yet. */
export function makeStore(): Store {
  const { store, directory: path, mapBytes, diskFloorBytes, redis: urls, redisUnsafeMs, shard } = readShadowConfig();
  if (store === 'lmdb') return new LmdbStore({ path, mapBytes, diskFloorBytes });
  return new RedisStore({ urls, shard, unsafeMs: redisUnsafeMs, log });
}

export class Engine {
  /** Things and changes that were written. */
  written = { things: 0, changes: 0 };
  readonly store = makeStore();
  readonly #source = new MemorySource();
  readonly #durable = new Signal();
  #through = START;

  private constructor() {}

  /** Opens the store and runs the engine on it. */
  static async start(): Promise<Engine> {
    const engine = new Engine();
    await engine.#start();
    return engine;
  }

  /** Applies batches. Resolves when all of it is in the store. */
  async apply(batches: readonly Buffer[]): Promise<void> {
    const { position } = readBatchHeader(batches.at(-1)!);
    this.#source.feed(batches);
    while (comparePositions(this.#through, position) < 0) await this.#durable.wait(LOOK_EVERY_MS);
  }

  async #start(): Promise<void> {
    const { hotThings, flushMs, documentBytes, depth } = readShadowConfig();
    const store = this.store;
    this.#watchWrites();
    const things = new Things({
      store,
      hotThings,
      flushMs,
      registry: new Registry(),
      log,
      onApplied: () => undefined,
      onFailure: fail,
    });
    const limits = { documentBytes, depth };
    const apply = new Apply({ source: this.#source, things, results: NO_RESULTS, limits, log, onFailure: fail });
    await store.open();
    await things.start();
    await things.resume(REPORTS_QUEUE_ID);
    await apply.start();
  }

  #watchWrites(): void {
    const { store } = this;
    const write = store.write.bind(store);
    store.write = async (change: Change) => {
      await write(change);
      this.written.things += change.things.length;
      this.written.changes++;
      this.#through = change.applied?.through ?? this.#through;
      this.#durable.fire();
    };
  }
}

/** Hands out batches as a consumer's link does, and keeps none of them. */
class MemorySource implements DeliverySource {
  readonly #fed = new Signal();
  #batches: Buffer[] = [];

  /** Has batches read, in order. */
  feed(batches: readonly Buffer[]): void {
    this.#batches = [...batches].reverse();
    this.#fed.fire();
  }

  async read(maxBytes: number): Promise<Delivery> {
    while (this.#batches.length === 0) await this.#fed.wait(LOOK_EVERY_MS);
    const batches: Buffer[] = [];
    let through: Position = START;
    for (let bytes = 0; bytes < maxBytes;) {
      const batch = this.#batches.pop();
      if (batch === undefined) break;
      batches.push(batch);
      bytes += batch.length;
      through = readBatchHeader(batch).position;
    }
    return { queueId: REPORTS_QUEUE_ID, batches, through };
  }

  ack(): void {
    // There is no router that keeps them.
  }
}

/** No command is under way: what is measured are reports. */
const NO_RESULTS: ResultTaker = { readResult: () => undefined, applyResult: () => 'unknown_command' };

function fail(error: Error): never {
  throw error;
}
