/**
 * Shadow's position, for a rewind: it is part of the store, and is set back by a change that holds nothing else. Being the store's
 * writer for that moment fences whoever was it before, so a shadow that is at work is refused first: LMDB by the store's lock, Redis
 * by the names of its connections.
 *
 * What is read again is applied again. State and latest come out as they are, because each leaf keeps the time of what was said;
 * versions go on rising, and what an application deleted since can be reported again.
 */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { HoldfastError } from '../../shared/errors.js';
import type { Logger } from '../../shared/log.js';
import { comparePositions, START, type Position } from '../../shared/position.js';
import type { ShadowConfig } from './config.js';
import { MARKER_FILE } from './lmdb-environment.js';
import { LmdbStore } from './lmdb-store.js';
import { RedisStore } from './redis-store.js';
import type { Store } from './store.js';

/** What `holdfast queue rewind` asks of a consumer (services/queue/rewind.ts). */
export interface ShadowPosition {
  read(queueId: string): Promise<Position | undefined>;
  moveBack(queueId: string, from: Position, to: Position): Promise<void>;
  close(): Promise<void>;
}

/**
 * Opens the store of a shadow that is stopped.
 * @throws HoldfastError fenced or store (retry) where shadow is at work; store where there is no store, or it is away
 */
export async function openShadowPosition(config: ShadowConfig, log: Logger): Promise<ShadowPosition> {
  const store = config.store === 'lmdb' ? await openLmdb(config) : await openRedis(config, log);
  return {
    read: async (queueId) => {
      const position = await store.position(queueId);
      return comparePositions(position, START) === 0 ? undefined : position;
    },
    moveBack: (queueId, from, through) =>
      store.write({ applied: { queueId, from, through }, things: [], commands: [] }),
    close: () => store.close(),
  };
}

async function openLmdb({ directory, mapBytes, diskFloorBytes }: ShadowConfig): Promise<Store> {
  // Opening would make one.
  if (!existsSync(join(directory, MARKER_FILE))) {
    const message = `there is no store in ${directory}: set SHADOW_DIRECTORY to that of shadow`;
    throw new HoldfastError('store', message, false);
  }
  const store = new LmdbStore({ path: directory, mapBytes, diskFloorBytes });
  await store.open();
  return store;
}

async function openRedis({ redis, redisUnsafeMs, shard }: ShadowConfig, log: Logger): Promise<Store> {
  const store = new RedisStore({ urls: redis, shard, unsafeMs: redisUnsafeMs, log, clientName: 'holdfast-rewind' });
  try {
    if (await store.isAtWork()) {
      const message = 'shadow is connected to its Redis: stop it first, rewind, and start it again';
      throw new HoldfastError('fenced', message, true);
    }
    await store.open();
    return store;
  } catch (error) {
    await store.close();
    throw error;
  }
}
