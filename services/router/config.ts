/** The router's keys. */
import { address, bytes, endpoint, list, readConfig, text, type Config } from '../../shared/config.js';

export const routerFields = {
  queuePath: text('ROUTER_QUEUE', './data/router', 'directory of the queue'),
  quotaBytes: bytes('ROUTER_QUOTA', '16GiB', 2 ** 20, 2 ** 45, 'bytes in the queue at which edges get no more credit'),
  diskFloorBytes: bytes('ROUTER_DISK_FLOOR', '256MiB', 0, 2 ** 45, 'free disk below which edges get no more credit'),
  retainBytes: bytes(
    'ROUTER_RETAIN',
    '64MiB',
    0,
    2 ** 45,
    'bytes kept for replay behind what every consumer has acked',
  ),
  intake: endpoint('ROUTER_INTAKE', 'tcp://127.0.0.1:7310', 'where edges send to'),
  publish: endpoint('ROUTER_PUBLISH', 'tcp://127.0.0.1:7311', 'where subscribers listen'),
  consumersListen: endpoint('ROUTER_CONSUMERS_LISTEN', 'tcp://127.0.0.1:7312', 'where consumers fetch and ack'),
  consumers: list(
    'ROUTER_CONSUMERS',
    'storage',
    /^[a-z][a-z0-9-]{0,62}$/,
    'the consumers for whom batches are kept until they ack',
  ),
  shard: text('ROUTER_SHARD', '0', 'the shard this router serves; edges of another shard are refused'),
  adminListen: address('ROUTER_ADMIN_LISTEN', '127.0.0.1:7319', 'where /metrics, /healthz and /readyz are served'),
} as const;

export type RouterConfig = Config<typeof routerFields>;

/** @throws HoldfastError bad_config that lists every bad key */
export function readRouterConfig(environment?: Readonly<Record<string, string | undefined>>): RouterConfig {
  return readConfig('ROUTER', routerFields, undefined, environment);
}
