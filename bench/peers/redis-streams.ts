/** Redis Streams: XADD to one stream, with the append-only file synced before every answer, or once a second. */
import type { BenchContext } from '../context.js';
import type { Peer, RunningPeer } from './peer.js';
import { describeRedis, Redis, REDIS_EVERY_SECOND, REDIS_SETTINGS, type RedisSettings } from './redis.js';

export const redisAlways = redisPeer('Redis Streams, always', REDIS_SETTINGS, 'written and fsynced');
export const redisEverySecond = redisPeer(
  'Redis Streams, everysec',
  REDIS_EVERY_SECOND,
  'written, fsynced within about a second',
);

function redisPeer(name: string, settings: RedisSettings, ackMeans: string): Peer {
  const start = async (context: BenchContext): Promise<RunningPeer> => {
    const directory = context.newDirectory('redis');
    const redis = await Redis.start(directory, settings);
    return {
      port: redis.port,
      cpuSeconds: () => redis.process.cpuSeconds(),
      count: () => redis.entries(),
      stop: async () => {
        await redis.process.stop();
        context.remove(directory);
      },
    };
  };
  return { name, load: { protocol: 'redis' }, ackMeans, settings: describeRedis(settings), start };
}
