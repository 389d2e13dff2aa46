/** Holdfast's services as a bench runs them: the processes that ship, configured by their environment alone. */
import { MALLOC_ENVIRONMENT } from '../shared/malloc.js';
import { packagePath } from '../shared/paths.js';
import type { BenchContext } from './context.js';
import { freePort } from './ports.js';
import { httpGet, startNode, untilAnswers, untilListens, type BenchProcess } from './processes.js';

export interface Service {
  readonly process: BenchProcess;
  readonly adminPort: number;
}

export interface EdgeService extends Service {
  readonly port: number;
}

/** Where a router's sockets are. */
export interface RouterAddresses {
  readonly intake: string;
  readonly publish: string;
  readonly consumers: string;
}

export interface RouterService extends Service {
  readonly addresses: RouterAddresses;
}

export interface ShadowService extends Service {
  /** Of its HTTP API. */
  readonly port: number;
  /** Where edges ask for what is sent to their devices. */
  readonly downlink: string;
}

type Environment = Readonly<Record<string, string>>;

const COMMON: Environment = { LOG_LEVEL: 'warn', LOG_FORMAT: 'json' };
/** No limit of a bench: quotas far over what it writes, and devices let in as fast as they come. */
const EDGE: Environment = {
  EDGE_QUOTA: '64GiB',
  EDGE_ACCEPT_RATE: '100000',
  EDGE_ACCEPT_BURST: '100000',
  EDGE_REQUEST_RATE: '1000000',
  EDGE_UDP_LISTEN: 'off',
};
const ROUTER: Environment = { ROUTER_QUOTA: '64GiB' };

/** An edge that listens; it serves devices whether or not its router is there. */
export async function startEdge(
  context: BenchContext,
  queue: string,
  intake: string,
  settings: Environment = {},
  nodeOptions: readonly string[] = [],
): Promise<EdgeService> {
  const port = await freePort();
  const environment = {
    ...EDGE,
    EDGE_LISTEN: `127.0.0.1:${port}`,
    EDGE_MQTT_LISTEN: 'off',
    EDGE_QUEUE: queue,
    EDGE_ROUTER: intake,
    ...settings,
  };
  const service = await startService(context, 'edge', environment, nodeOptions);
  await untilListens(service.process, port);
  return { ...service, port };
}

/** Free addresses for a router that is started now or later. */
export async function newRouterAddresses(): Promise<RouterAddresses> {
  const endpoint = async (): Promise<string> => `tcp://127.0.0.1:${await freePort()}`;
  return { intake: await endpoint(), publish: await endpoint(), consumers: await endpoint() };
}

/**
 * A router that is ready.
 * @param consumer the one consumer for whom it keeps batches
 * @param wrapper words before its command
 */
export async function startRouter(
  context: BenchContext,
  queue: string,
  consumer: string,
  addresses: RouterAddresses,
  wrapper: readonly string[] = [],
): Promise<RouterService> {
  const settings = {
    ...ROUTER,
    ROUTER_INTAKE: addresses.intake,
    ROUTER_PUBLISH: addresses.publish,
    ROUTER_CONSUMERS_LISTEN: addresses.consumers,
    ROUTER_CONSUMERS: consumer,
    ROUTER_QUEUE: queue,
  };
  const service = await startService(context, 'router', settings, [], wrapper);
  await untilAnswers(service.process, service.adminPort, '/readyz');
  return { ...service, addresses };
}

/** A storage that runs; ready as soon as its database and router are. @param wrapper words before its command */
export function startStorage(
  context: BenchContext,
  databaseUrl: string,
  addresses: RouterAddresses,
  wrapper: readonly string[] = [],
): Promise<Service> {
  const settings = {
    STORAGE_URL: databaseUrl,
    STORAGE_ROUTER_FETCH: addresses.consumers,
    STORAGE_ROUTER_PUBLISH: addresses.publish,
  };
  return startService(context, 'storage', settings, [], wrapper);
}

/**
 * A shadow that runs; ready as soon as its store and router are.
 * @param settings name its store
 */
export async function startShadow(
  context: BenchContext,
  addresses: RouterAddresses,
  settings: Environment,
): Promise<ShadowService> {
  const own = await shadowAddresses();
  const service = await startService(context, 'shadow', {
    ...own,
    SHADOW_ROUTER_FETCH: addresses.consumers,
    SHADOW_ROUTER_PUBLISH: addresses.publish,
    ...settings,
  });
  return { ...service, port: Number(own.SHADOW_LISTEN.split(':')[1]), downlink: own.SHADOW_DOWNLINK };
}

/** A live that runs, without a database: type and site are null. */
export async function startLive(
  context: BenchContext,
  addresses: RouterAddresses,
): Promise<Service & { readonly port: number }> {
  const port = await freePort();
  const settings = { LIVE_LISTEN: `127.0.0.1:${port}`, LIVE_ROUTER_PUBLISH: addresses.publish };
  const service = await startService(context, 'live', settings);
  await untilListens(service.process, port);
  return { ...service, port };
}

/** Where a shadow listens, on ports that are free now. */
export async function shadowAddresses(): Promise<{ SHADOW_LISTEN: string; SHADOW_DOWNLINK: string }> {
  const [listen, downlink] = [await freePort(), await freePort()];
  return { SHADOW_LISTEN: `127.0.0.1:${listen}`, SHADOW_DOWNLINK: `tcp://127.0.0.1:${downlink}` };
}

async function startService(
  context: BenchContext,
  name: 'edge' | 'router' | 'storage' | 'shadow' | 'live',
  settings: Environment,
  nodeOptions: readonly string[] = [],
  wrapper: readonly string[] = [],
): Promise<Service> {
  const adminPort = await freePort();
  const environment = {
    ...MALLOC_ENVIRONMENT,
    ...COMMON,
    ...settings,
    [`${name.toUpperCase()}_ADMIN_LISTEN`]: `127.0.0.1:${adminPort}`,
  };
  const script = packagePath('dist', 'services', 'cli.js');
  const process = startNode(name, script, [name], environment, [...context.nodeOptions, ...nodeOptions], wrapper);
  return { process, adminPort };
}

/**
 * The sum of a metric over all its labels, as /metrics tells it now.
 * @throws Error where there is none of that name
 */
export async function readMetric(service: Service, name: string): Promise<number> {
  const { status, body } = await httpGet(service.adminPort, '/metrics');
  if (status !== 200) throw new Error(`${service.process.name}: /metrics answers ${status}`);
  const lines = body.split('\n').filter((line) => line.startsWith(`${name}{`) || line.startsWith(`${name} `));
  if (lines.length === 0) throw new Error(`${service.process.name} has no metric ${name}`);
  return lines.reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(' ') + 1)), 0);
}

/** Records that wait in a service's queue. */
export function queuedRecords(service: Service): Promise<number> {
  return readMetric(service, 'holdfast_queue_records');
}
