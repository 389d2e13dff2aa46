/**
 * The keys that `holdfast up` reads itself. Every other key of a service is handed on to it; where a service listens is
 * read here too, to say where to connect and to ask whether it is ready. The router alone serves storage; here it serves
 * shadow as well.
 */
import {
  address,
  addressOrOff,
  databaseUrl,
  list,
  optional,
  readConfig,
  secret,
  type Config,
} from '../../shared/config.js';

const upFields = {
  postgres: address('UP_POSTGRES_LISTEN', '127.0.0.1:7332', 'where the embedded PostgreSQL listens'),
  storageUrl: optional(databaseUrl('STORAGE_URL', undefined, 'a database instead of the embedded one')),
  deviceSecret: secret('EDGE_DEVICE_SECRET', "the key of the devices' tokens"),
  consumers: list(
    'ROUTER_CONSUMERS',
    'storage,shadow',
    /^[a-z][a-z0-9-]{0,62}$/,
    'the consumers for whom the router keeps batches until they ack',
  ),
  edge: address('EDGE_LISTEN', '127.0.0.1:7300', 'where devices connect'),
  mqtt: addressOrOff('EDGE_MQTT_LISTEN', '127.0.0.1:1883', 'where devices connect by MQTT over TCP'),
  udp: addressOrOff('EDGE_UDP_LISTEN', '127.0.0.1:5000', 'where datagrams of devices are received'),
  shadow: address('SHADOW_LISTEN', '127.0.0.1:7320', 'where applications talk to shadows'),
  live: address('LIVE_LISTEN', '127.0.0.1:7340', 'where live clients connect'),
  edgeAdmin: address('EDGE_ADMIN_LISTEN', '127.0.0.1:7309', 'admin endpoint of the edge'),
  routerAdmin: address('ROUTER_ADMIN_LISTEN', '127.0.0.1:7319', 'admin endpoint of the router'),
  storageAdmin: address('STORAGE_ADMIN_LISTEN', '127.0.0.1:7339', 'admin endpoint of storage'),
  shadowAdmin: address('SHADOW_ADMIN_LISTEN', '127.0.0.1:7329', 'admin endpoint of shadow'),
  liveAdmin: address('LIVE_ADMIN_LISTEN', '127.0.0.1:7349', 'admin endpoint of live'),
} as const;

export type UpConfig = Config<typeof upFields>;

/** @throws HoldfastError bad_config that lists every bad key */
export function readUpConfig(): UpConfig {
  return readConfig('UP', upFields, checkUp);
}

/** A consumer that runs and is not registered would be refused, and never be ready. */
function checkUp({ consumers }: UpConfig): readonly string[] {
  const missing = ['storage', 'shadow'].filter((name) => !consumers.includes(name));
  if (missing.length === 0) return [];
  return [
    `ROUTER_CONSUMERS=${consumers.join(',')} leaves out ${missing.join(' and ')}, which holdfast up runs: add it`,
  ];
}
