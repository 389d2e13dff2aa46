/**
 * How the services are wired, by their keys: where each listens, under which port name, and whom it connects to. The one
 * table that says what manifests and compose.yaml have to agree with; problemsOfWiring says where it has fallen behind the
 * services' own keys.
 */
import type { Fields } from '../../../shared/config.js';
import { demoFields, readDemoConfig } from '../../../services/demo/config.js';
import { edgeFields, readEdgeConfig } from '../../../services/edge/config.js';
import { liveFields, readLiveConfig } from '../../../services/live/config.js';
import { readRouterConfig, routerFields } from '../../../services/router/config.js';
import { readShadowConfig, shadowFields } from '../../../services/shadow/config.js';
import { readStorageConfig, storageFields } from '../../../services/storage/config.js';

export type Environment = Readonly<Record<string, string>>;

export interface Wiring {
  readonly fields: Fields;
  /** Reads all keys as the service does. @throws HoldfastError bad_config */
  readonly read: (environment: Environment) => unknown;
  /** The key of each port that is listened on, by the port's name; that of datagrams is `udp`. */
  readonly listens: Readonly<Record<string, string>>;
  /** The keys that say whom it connects to. */
  readonly connects: readonly string[];
  /** The ports that are for others than the services. */
  readonly open?: readonly string[];
  /** The key of its queue's directory, and those whose bytes lie there. */
  readonly queue?: { readonly directory: string; readonly bytes: readonly string[] };
}

export const WIRING: Readonly<Record<string, Wiring>> = {
  edge: {
    fields: edgeFields,
    read: readEdgeConfig,
    listens: {
      devices: 'EDGE_LISTEN',
      mqtt: 'EDGE_MQTT_LISTEN',
      udp: 'EDGE_UDP_LISTEN',
      admin: 'EDGE_ADMIN_LISTEN',
    },
    connects: ['EDGE_ROUTER', 'EDGE_DOWNLINK'],
    open: ['devices', 'mqtt', 'udp'],
    queue: { directory: 'EDGE_QUEUE', bytes: ['EDGE_QUOTA', 'EDGE_DISK_FLOOR'] },
  },
  router: {
    fields: routerFields,
    read: readRouterConfig,
    listens: {
      intake: 'ROUTER_INTAKE',
      publish: 'ROUTER_PUBLISH',
      consumers: 'ROUTER_CONSUMERS_LISTEN',
      admin: 'ROUTER_ADMIN_LISTEN',
    },
    connects: [],
    queue: { directory: 'ROUTER_QUEUE', bytes: ['ROUTER_QUOTA', 'ROUTER_RETAIN', 'ROUTER_DISK_FLOOR'] },
  },
  storage: {
    fields: storageFields,
    read: readStorageConfig,
    listens: { admin: 'STORAGE_ADMIN_LISTEN' },
    connects: ['STORAGE_ROUTER_FETCH', 'STORAGE_ROUTER_PUBLISH', 'STORAGE_URL'],
  },
  shadow: {
    fields: shadowFields,
    read: readShadowConfig,
    listens: { api: 'SHADOW_LISTEN', downlink: 'SHADOW_DOWNLINK', admin: 'SHADOW_ADMIN_LISTEN' },
    connects: ['SHADOW_ROUTER_FETCH', 'SHADOW_ROUTER_PUBLISH', 'SHADOW_REDIS', 'SHADOW_DATABASE_URL'],
    open: ['api'],
  },
  live: {
    fields: liveFields,
    read: readLiveConfig,
    listens: { clients: 'LIVE_LISTEN', admin: 'LIVE_ADMIN_LISTEN' },
    connects: ['LIVE_ROUTER_PUBLISH', 'LIVE_DATABASE_URL'],
    open: ['clients'],
  },
  demo: {
    fields: demoFields,
    read: readDemoConfig,
    listens: {},
    connects: ['DEMO_EDGE', 'DEMO_DATABASE_URL'],
  },
};

/** Keys that any service may be given beside its own. */
const COMMON = /^(LOG_LEVEL|LOG_FORMAT|NODE_\w+)$/;

/** A link that a configuration asks for. */
export interface Connection {
  readonly key: string;
  readonly host: string;
  readonly port: number;
}

/** Every key of a service that holds an address and is in no line of the table, and every line that names no key. */
export function problemsOfWiring(wiring: Readonly<Record<string, Wiring>> = WIRING): string[] {
  return Object.entries(wiring).flatMap(([service, { fields, listens, connects }]) => {
    const wired = [...Object.values(listens), ...connects];
    const known = Object.values(fields).map(({ key }) => key);
    const addresses = Object.values(fields).filter(({ fallback, allowed }) =>
      /:\d{2,5}\b/.test(`${fallback ?? ''} ${allowed}`),
    );
    return [
      ...addresses.filter(({ key }) => !wired.includes(key)).map(({ key }) => `${service}: ${key} is not wired`),
      ...wired.filter((key) => !known.includes(key)).map((key) => `${service}: ${key} is no key of it`),
    ];
  });
}

/**
 * One line for each way in which a service could not run with this environment.
 * @param helpers keys that are there for others to be made of, as the password in a URL
 */
export function problemsOfEnvironment(
  service: string,
  environment: Environment,
  helpers: readonly string[] = [],
): string[] {
  const wiring = WIRING[service];
  if (wiring === undefined) return [`there is no service ${service}`];
  const known = new Set([...Object.values(wiring.fields).map(({ key }) => key), ...helpers]);
  const unknown = Object.keys(environment).filter((key) => !known.has(key) && !COMMON.test(key));
  const problems = unknown.map((key) => `${service} does not read ${key}`);
  try {
    wiring.read(environment);
  } catch (error) {
    problems.push(
      ...(error as Error).message
        .split('\n')
        .slice(1)
        .map((line) => `${service}: ${line.trim()}`),
    );
  }
  for (const key of wiring.connects) {
    if (environment[key] === undefined) problems.push(`${service}: ${key} is not set, and its default is this machine`);
  }
  return problems;
}

/** The port behind each port name, from the environment. */
export function listeningPorts(service: string, environment: Environment): Map<string, number> {
  const ports = Object.entries(WIRING[service]!.listens).map(([name, key]): [string, number] => [
    name,
    Number(/:(\d+)$/.exec(valueOf(service, key, environment))?.[1]),
  ]);
  return new Map(ports);
}

/** Whom the service connects to with this environment. */
export function connectionsOf(service: string, environment: Environment): Connection[] {
  return WIRING[service]!.connects.flatMap((key) =>
    valueOf(service, key, environment)
      .split(',')
      .map((value) => {
        const { hostname, port } = new URL(value.replace(/^\w+:/, 'http:'));
        return { key, host: hostname, port: port === '' ? 80 : Number(port) };
      }),
  );
}

function valueOf(service: string, key: string, environment: Environment): string {
  const field = Object.values(WIRING[service]!.fields).find((candidate) => candidate.key === key);
  return environment[key] ?? field?.fallback ?? '';
}
