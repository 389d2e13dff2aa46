/**
 * Shadow as a bench runs it within a process of its own: all its parts, put together as the service puts them, with the
 * defaults of services/shadow/config.ts, fed with batches from memory in the place of a router. What is durable is told
 * by the store's own writes.
 */
import { pino } from 'pino';
import { readShadowConfig } from '../services/shadow/config.js';
import { LmdbStore } from '../services/shadow/lmdb-store.js';
import { RedisStore } from '../services/shadow/redis-store.js';
import { createShadow } from '../services/shadow/shadow.js';
import type { Change, Store } from '../services/shadow/store.js';
import { readBatchHeader } from '../shared/batch.js';
import type { Delivery, DeliverySource } from '../shared/delivery.js';
import { STOP_DEADLINE_MS, stopParts } from '../shared/lifecycle.js';
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
  readonly #source = new MemorySource();
  readonly #durable = new Signal();
  readonly #shadow = createShadow({
    config: readShadowConfig(),
    source: this.#source,
    context: undefined,
    registry: new Registry(),
    log,
    onFailure: fail,
  });
  #through = START;

  private constructor() {
    this.#watchWrites();
  }

  /** Opens the store and runs shadow on it. */
  static async start(): Promise<Engine> {
    const engine = new Engine();
    const { parts, things } = engine.#shadow;
    for (const part of parts) await part.start?.();
    await things.resume(REPORTS_QUEUE_ID);
    return engine;
  }

  get store(): Store {
    return this.#shadow.store;
  }

  /** Applies batches. Resolves when all of it is in the store. */
  async apply(batches: readonly Buffer[]): Promise<void> {
    const { position } = readBatchHeader(batches.at(-1)!);
    this.#source.feed(batches);
    while (comparePositions(this.#through, position) < 0) await this.#durable.wait(LOOK_EVERY_MS);
  }

  /** Stops all parts; the store is closed with them. */
  async stop(): Promise<void> {
    this.#source.close();
    await stopParts(this.#shadow.parts, STOP_DEADLINE_MS);
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
  #closed = false;

  /** Has batches read, in order. */
  feed(batches: readonly Buffer[]): void {
    this.#batches = [...batches].reverse();
    this.#fed.fire();
  }

  close(): void {
    this.#closed = true;
    this.#fed.fire();
  }

  async read(maxBytes: number): Promise<Delivery | undefined> {
    while (this.#batches.length === 0 && !this.#closed) await this.#fed.wait(LOOK_EVERY_MS);
    if (this.#closed) return undefined;
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

function fail(error: unknown): never {
  throw error;
}
