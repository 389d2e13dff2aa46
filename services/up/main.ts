/**
 * `holdfast up`: the whole pipeline on one machine, each service a child process of its own, in one data directory.
 *
 *   DIR/run/<service>.pid   DIR/edge   DIR/router   DIR/shadow   DIR/postgres
 *
 * Started in the order of the records' way back to front, so that every service finds the next one there; stopped in the
 * order in which records flow, so that each can hand on what it has.
 */
import { resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Address } from '../../shared/config.js';
import { CONFIG_EXIT_CODE, exitWith, runService, type Part } from '../../shared/lifecycle.js';
import { createLogger, type Logger } from '../../shared/log.js';
import { ServiceChild } from './child.js';
import { readUpConfig, type UpConfig } from './config.js';
import { Database } from './database.js';
import { RunFiles } from './run-files.js';

export interface UpOptions {
  /** DIR. */
  readonly data: string;
  /** Whether the demo fleet runs. */
  readonly demo: boolean;
}

/** Devices wait for the edge; the demo is devices. */
const AWAITED = ['edge', 'demo'];
const POLL_MS = 200;
/** Stopping everything, one after the other, each within its own deadline. */
const STOP_DEADLINE_MS = 60_000;

export async function main({ data, demo }: UpOptions): Promise<void> {
  const log = createLogger('up');
  const directory = resolve(data);
  const config = readUpConfig();
  const runFiles = new RunFiles(directory);
  await runFiles.take(log).catch((error: unknown) => exitWith(log, error, 'cannot use the data directory'));
  const postgresOptions = { directory: `${directory}/postgres`, port: config.postgres.port, log };
  const database = config.storageUrl === undefined ? new Database(postgresOptions, runFiles, log) : undefined;
  const databaseUrl = config.storageUrl ?? database!.url;

  const onBadConfig = (service: string): void => {
    log.fatal({ service }, `the configuration of ${service} is wrong; it says above what is`);
    process.exitCode = CONFIG_EXIT_CODE;
    process.kill(process.pid, 'SIGTERM');
  };
  const child = (service: string, environment: Readonly<Record<string, string>>): Part => {
    const isAwaited = AWAITED.includes(service);
    return new ServiceChild({ service, isAwaited, environment, runFiles, log, onBadConfig });
  };
  const parts: Part[] = [
    { name: 'run directory', stop: () => runFiles.release() },
    ...(database === undefined ? [] : [database]),
    child('storage', { STORAGE_URL: databaseUrl }),
    child('shadow', { SHADOW_DIRECTORY: `${directory}/shadow`, SHADOW_DATABASE_URL: databaseUrl }),
    child('live', { LIVE_DATABASE_URL: databaseUrl }),
    child('router', { ROUTER_QUEUE: `${directory}/router`, ROUTER_CONSUMERS: config.consumers.join(',') }),
    child('edge', { EDGE_QUEUE: `${directory}/edge` }),
    ...(demo ? [child('demo', demoEnvironment(config, databaseUrl))] : []),
  ];
  process.on('SIGHUP', () => process.kill(process.pid, 'SIGTERM'));
  await runService(log, parts, STOP_DEADLINE_MS);
  const { edge, mqtt, udp, live, shadow, edgeAdmin, routerAdmin, storageAdmin, shadowAdmin, liveAdmin } = config;
  await untilReady([edgeAdmin, routerAdmin, storageAdmin, shadowAdmin, liveAdmin], log);
  const shownUrl = database === undefined ? 'STORAGE_URL' : databaseUrl;
  process.stdout.write(
    `holdfast is ready  devices ws://${hostPort(edge)}/v1/devices/{id}${shown('mqtt', mqtt)}${shown('udp', udp)}  live ws://${hostPort(live)}/v1/live  ` +
      `shadow http://${hostPort(shadow)}/things/{thing}/shadow  database ${shownUrl}  ` +
      `metrics http://${hostPort(edgeAdmin)}/metrics\n`,
  );
}

/** Another address where devices connect, unless it is off. */
function shown(scheme: string, address: Address | 'off'): string {
  return address === 'off' ? '' : ` ${scheme}://${hostPort(address)}`;
}

function demoEnvironment({ edge, deviceSecret }: UpConfig, databaseUrl: string): Readonly<Record<string, string>> {
  const environment = { DEMO_EDGE: `ws://${hostPort(edge)}`, DEMO_DATABASE_URL: databaseUrl };
  return deviceSecret === undefined ? environment : { ...environment, DEMO_DEVICE_SECRET: deviceSecret };
}

/** Asks every service's /readyz until all say yes; says now and then what is missing. */
async function untilReady(admins: readonly Address[], log: Logger): Promise<void> {
  for (let round = 1; ; round++) {
    const waiting = await Promise.all(admins.map(missingAt));
    const missing = waiting.flat();
    if (missing.length === 0) return;
    if (round % 50 === 0) log.info({ missing }, 'still waiting');
    await sleep(POLL_MS);
  }
}

async function missingAt(admin: Address): Promise<readonly string[]> {
  try {
    const response = await fetch(`http://${hostPort(admin)}/readyz`, { signal: AbortSignal.timeout(2_000) });
    return ((await response.json()) as { waiting: string[] }).waiting;
  } catch {
    // Refused, reset or too slow: it is on its way up, or on its way up again.
    return [`no answer from ${hostPort(admin)}`];
  }
}

function hostPort({ host, port }: Address): string {
  const reachable = host === '0.0.0.0' ? '127.0.0.1' : host === '::' ? '::1' : host;
  return reachable.includes(':') ? `[${reachable}]:${port}` : `${reachable}:${port}`;
}
