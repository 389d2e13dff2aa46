/** What shadow reads from the environment. */
import {
  address,
  bytes,
  choice,
  databaseUrl,
  duration,
  endpoint,
  integer,
  isLoopback,
  list,
  optional,
  readConfig,
  secret,
  text,
  type Config,
} from '../../shared/config.js';

const DAY_MS = 86_400_000;

export const shadowFields = {
  listen: address('SHADOW_LISTEN', '127.0.0.1:7320', 'where the HTTP API is served'),
  adminListen: address('SHADOW_ADMIN_LISTEN', '127.0.0.1:7329', 'where /metrics, /healthz and /readyz are served'),
  apiToken: secret('SHADOW_API_TOKEN', 'what callers of the API show; without it only loopback is served'),
  downlink: endpoint('SHADOW_DOWNLINK', 'tcp://127.0.0.1:7321', 'where edges ask for what is sent to their devices'),
  fetch: endpoint('SHADOW_ROUTER_FETCH', 'tcp://127.0.0.1:7312', "the router's consumer endpoint"),
  publish: endpoint('SHADOW_ROUTER_PUBLISH', 'tcp://127.0.0.1:7311', "the router's publisher"),
  store: choice('SHADOW_STORE', 'lmdb', ['lmdb', 'redis'], 'where things and commands are kept'),
  directory: text('SHADOW_DIRECTORY', './data/shadow', 'directory of the LMDB store'),
  diskFloorBytes: bytes('SHADOW_DISK_FLOOR', '256MiB', 0, 2 ** 45, 'free disk below which nothing is written (LMDB)'),
  mapBytes: bytes('SHADOW_MAP', '64GiB', 2 ** 20, 2 ** 45, 'the most that the LMDB store may grow to'),
  redis: {
    ...list(
      'SHADOW_REDIS',
      'redis://127.0.0.1:6379',
      /^rediss?:\/\/\S+$/,
      'the Redis server; several: nodes of one Redis Cluster',
    ),
    // A URL may hold a password.
    secret: true,
  },
  redisUnsafeMs: duration(
    'SHADOW_REDIS_UNSAFE',
    '3s',
    0,
    60_000,
    'how much Redis may lose (everysec: 2s); the router keeps what is younger',
  ),
  shard: text('SHADOW_SHARD', '0', 'the shard that is served; part of the keys in Redis'),
  databaseUrl: optional(
    databaseUrl('SHADOW_DATABASE_URL', undefined, 'where table devices is; without it type and site are null'),
  ),
  documentBytes: bytes('SHADOW_DOCUMENT_LIMIT', '8KiB', 256, 2 ** 20, 'the largest document, without its metadata'),
  depth: integer('SHADOW_DEPTH', 8, 1, 64, 'the deepest nesting of a section'),
  hotThings: integer('SHADOW_HOT_THINGS', 200_000, 10_000, 10_000_000, 'things kept in memory, about 2 KB each'),
  flushMs: duration('SHADOW_FLUSH', '1s', 1, 60_000, 'how long changes by records wait to be written together'),
  requestRate: integer('SHADOW_REQUEST_RATE', 5_000, 1, 1_000_000, 'requests a second that are served; others get 429'),
  maxPending: integer('SHADOW_MAX_PENDING', 100, 1, 10_000, 'commands of a thing that are not over'),
  retentionMs: duration('SHADOW_COMMAND_RETENTION', '30d', 60_000, 3_650 * DAY_MS, 'how long ended commands are kept'),
} as const;

export type ShadowConfig = Config<typeof shadowFields>;

/** @throws HoldfastError bad_config that lists every bad key */
export function readShadowConfig(environment?: Readonly<Record<string, string | undefined>>): ShadowConfig {
  return readConfig('SHADOW', shadowFields, checkShadow, environment);
}

function checkShadow({ listen, apiToken, redis }: ShadowConfig): readonly string[] {
  const problems: string[] = [];
  if (apiToken === undefined && !isLoopback(listen.host)) {
    problems.push(
      `SHADOW_LISTEN=${listen.host}:${listen.port} can be reached by others: set SHADOW_API_TOKEN, or listen on 127.0.0.1`,
    );
  }
  if (redis.length === 0) problems.push('SHADOW_REDIS is empty: name at least one server');
  return problems;
}
