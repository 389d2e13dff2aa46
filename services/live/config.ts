/** The keys of live. */
import {
  address,
  bytes,
  databaseUrl,
  endpoint,
  integer,
  isLoopback,
  list,
  optional,
  readConfig,
  secret,
  type Config,
} from '../../shared/config.js';

export const liveFields = {
  listen: address('LIVE_LISTEN', '127.0.0.1:7340', 'where WebSocket clients connect'),
  adminListen: address('LIVE_ADMIN_LISTEN', '127.0.0.1:7349', 'where /metrics, /healthz and /readyz are served'),
  routerPublish: endpoint('LIVE_ROUTER_PUBLISH', 'tcp://127.0.0.1:7311', 'where the router publishes'),
  origins: list(
    'LIVE_ORIGINS',
    '',
    /^https?:\/\/\S+$/,
    'web pages whose scripts may connect; any other Origin gets 403',
  ),
  apiToken: secret('LIVE_API_TOKEN', 'what clients show to be let in; without it only loopback is served'),
  databaseUrl: optional(
    databaseUrl('LIVE_DATABASE_URL', undefined, 'where table devices is; without it type and site are null'),
  ),
  clientBufferBytes: bytes(
    'LIVE_CLIENT_BUFFER',
    '1MiB',
    2 ** 10,
    2 ** 30,
    'bytes that may wait for a slow client before it loses messages',
  ),
  maxClients: integer('LIVE_MAX_CLIENTS', 10_000, 1, 1_000_000, 'clients that are let in'),
  maxSubscriptions: integer(
    'LIVE_MAX_SUBSCRIPTIONS',
    10_000,
    1,
    1_000_000,
    'devices, types and sites a client may name',
  ),
} as const;

export type LiveConfig = Config<typeof liveFields>;

/** @throws HoldfastError bad_config that lists every bad key */
export function readLiveConfig(environment?: Readonly<Record<string, string | undefined>>): LiveConfig {
  return readConfig('LIVE', liveFields, checkExposure, environment);
}

function checkExposure({ listen, apiToken }: LiveConfig): readonly string[] {
  if (apiToken !== undefined || isLoopback(listen.host)) return [];
  return [
    `LIVE_LISTEN=${listen.host}:${listen.port} can be reached by others: set LIVE_API_TOKEN, or listen on 127.0.0.1`,
  ];
}
