/** What storage reads from the environment. */
import {
  address,
  bytes,
  choice,
  databaseUrl,
  duration,
  endpoint,
  integer,
  readConfig,
  type Config,
} from '../../shared/config.js';

const DAY_MS = 86_400_000;

export const storageFields = {
  url: databaseUrl('STORAGE_URL', 'postgres://holdfast@127.0.0.1:7332/holdfast', 'the database that rows go to'),
  fetch: endpoint('STORAGE_ROUTER_FETCH', 'tcp://127.0.0.1:7312', "the router's consumer endpoint"),
  publish: endpoint('STORAGE_ROUTER_PUBLISH', 'tcp://127.0.0.1:7311', "the router's publisher"),
  admin: address('STORAGE_ADMIN_LISTEN', '127.0.0.1:7339', 'where metrics and health are served'),
  mergeRows: integer('STORAGE_MERGE_ROWS', 50_000, 1, 1_000_000, 'rows at which a COPY is begun'),
  mergeWaitMs: duration('STORAGE_MERGE_WAIT', '100ms', 0, 60_000, 'how long rows wait for more before a COPY is begun'),
  mergeBytes: bytes(
    'STORAGE_MERGE_BYTES',
    '32MiB',
    2 ** 20,
    2 ** 30,
    'bytes at which a COPY is begun; up to three times that is held',
  ),
  retentionMs: duration('STORAGE_RETENTION', '365d', DAY_MS, 36_500 * DAY_MS, 'how long rows are kept'),
  timescale: choice('STORAGE_TIMESCALE', 'auto', ['auto', 'off'], 'auto: use TimescaleDB where the database has it'),
} as const;

export type StorageConfig = Config<typeof storageFields>;

/** @throws HoldfastError bad_config that lists every bad key */
export function readStorageConfig(environment?: Readonly<Record<string, string | undefined>>): StorageConfig {
  return readConfig('STORAGE', storageFields, undefined, environment);
}
