/** The edge's keys. */
import { MAX_PAYLOAD_BYTES } from '../../shared/batch.js';
import {
  address,
  addressOrOff,
  bytes,
  duration,
  endpoint,
  flag,
  integer,
  isLoopback,
  list,
  readConfig,
  secret,
  text,
  type Config,
} from '../../shared/config.js';

export const edgeFields = {
  listen: address('EDGE_LISTEN', '127.0.0.1:7300', 'where devices connect'),
  udpListen: addressOrOff('EDGE_UDP_LISTEN', '127.0.0.1:5000', 'where datagrams of devices are received'),
  udpDevices: integer('EDGE_UDP_DEVICES', 10_000, 1, 10_000_000, 'devices whose datagrams are remembered'),
  mqttListen: addressOrOff('EDGE_MQTT_LISTEN', '127.0.0.1:1883', 'where devices connect by MQTT over TCP'),
  adminListen: address('EDGE_ADMIN_LISTEN', '127.0.0.1:7309', 'where /metrics, /healthz and /readyz are served'),
  deviceSecret: secret('EDGE_DEVICE_SECRET', "the key of the devices' tokens; without it only loopback is served"),
  origins: list('EDGE_ORIGINS', '', /^https?:\/\/[^\s/]+$/, 'values of the Origin header that are let in'),
  queuePath: text('EDGE_QUEUE', './data/edge', 'directory of the queue'),
  quotaBytes: bytes('EDGE_QUOTA', '4GiB', 2 ** 20, 2 ** 45, 'bytes in the queue at which devices are sent away'),
  diskFloorBytes: bytes('EDGE_DISK_FLOOR', '256MiB', 0, 2 ** 45, 'free disk below which devices are sent away'),
  router: endpoint('EDGE_ROUTER', 'tcp://127.0.0.1:7310', "the router's intake"),
  downlink: endpoint('EDGE_DOWNLINK', 'tcp://127.0.0.1:7321', "shadow's downlink"),
  shard: text('EDGE_SHARD', '0', 'the shard this edge serves; the router must serve the same'),
  frameBytes: bytes('EDGE_FRAME_LIMIT', '256KiB', 1024, 2 ** 24, 'the largest frame of a device'),
  payloadBytes: bytes('EDGE_PAYLOAD_LIMIT', '64KiB', 16, MAX_PAYLOAD_BYTES, 'the largest payload of a record'),
  depth: integer('EDGE_JSON_DEPTH', 16, 1, 1_000, 'the deepest nesting of a payload'),
  windowBytes: bytes('EDGE_WINDOW', '1MiB', 1024, 2 ** 30, 'unacked bytes a connection may have'),
  memoryBytes: bytes('EDGE_MEMORY', '64MiB', 2 ** 20, 2 ** 36, 'unacked bytes all connections together may have'),
  acceptRate: integer('EDGE_ACCEPT_RATE', 2_000, 1, 1_000_000, 'connections let in a second'),
  acceptBurst: integer('EDGE_ACCEPT_BURST', 2_000, 1, 1_000_000, 'connections let in at once after a quiet time'),
  requestRate: integer('EDGE_REQUEST_RATE', 50_000, 1, 10_000_000, 'HTTP requests with records served a second'),
  connectTimeoutMs: duration('EDGE_CONNECT_TIMEOUT', '10s', 10, 600_000, "how long MQTT's CONNECT may take to come"),
  maxDevices: integer('EDGE_MAX_DEVICES', 100_000, 1, 10_000_000, 'connections open at a time'),
  retryAfterMs: duration('EDGE_RETRY_AFTER', '1s', 10, 600_000, 'the middle of what retry-after asks of a device'),
  validatePayloads: flag(
    'EDGE_VALIDATE_PAYLOADS',
    false,
    'check the JSON of binary records too, before they are acked',
  ),
} as const;

export type EdgeConfig = Config<typeof edgeFields>;

/** @throws HoldfastError bad_config that lists every bad key */
export function readEdgeConfig(environment?: Readonly<Record<string, string | undefined>>): EdgeConfig {
  return readConfig('EDGE', edgeFields, checkEdge, environment);
}

function checkEdge(config: EdgeConfig): readonly string[] {
  const problems: string[] = [];
  const listening = {
    EDGE_LISTEN: config.listen,
    EDGE_MQTT_LISTEN: config.mqttListen,
    EDGE_UDP_LISTEN: config.udpListen,
  };
  for (const [key, address] of Object.entries(listening)) {
    if (address === 'off' || config.deviceSecret !== undefined || isLoopback(address.host)) continue;
    const { host, port } = address;
    problems.push(`${key}=${host}:${port} is open to others: set EDGE_DEVICE_SECRET, or listen on 127.0.0.1`);
  }
  if (config.payloadBytes > config.frameBytes) {
    problems.push(`EDGE_PAYLOAD_LIMIT=${config.payloadBytes} is over EDGE_FRAME_LIMIT=${config.frameBytes}`);
  }
  if (config.frameBytes > config.windowBytes) {
    problems.push(`EDGE_WINDOW=${config.windowBytes} is under EDGE_FRAME_LIMIT=${config.frameBytes}`);
  }
  if (config.windowBytes > config.memoryBytes) {
    problems.push(`EDGE_MEMORY=${config.memoryBytes} is under EDGE_WINDOW=${config.windowBytes}`);
  }
  return problems;
}
