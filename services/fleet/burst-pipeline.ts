/**
 * The pipeline that a burst without `--edge` runs against: `holdfast up --no-demo` as a child process, on free ports of
 * loopback and in a directory of its own. Keys of services in the environment reach it, so that a setting can be tried; where
 * things listen, and which database is used, is the burst's.
 */
import { fork, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { inheritedEnvironment } from '../../shared/config.js';
import { HoldfastError } from '../../shared/errors.js';
import { isPortFree } from '../../shared/free-port.js';
import { packagePath } from '../../shared/paths.js';
import type { FleetProtocol } from './connection.js';

/** Where a burst finds what it looks at. */
export interface PipelineAddresses {
  readonly edge: string;
  readonly databaseUrl: string;
  /** host:port of admin endpoints. */
  readonly edgeAdmin: string;
  readonly routerAdmin: string;
  readonly storageAdmin: string;
}

const START_TIMEOUT_MS = 60_000;
/** Over what `holdfast up` gives itself. */
const STOP_TIMEOUT_MS = 65_000;
const OUTPUT_CHARACTERS = 20_000;
/** Below the range from which the kernel takes the ports of outgoing connections, of which a fleet uses nearly all. */
const FIRST_PORT = 10_000;
const PORTS = 20_000;
const READY = 'holdfast is ready';

export class BurstPipeline {
  #output = '';

  private constructor(
    private readonly child: ChildProcess,
    readonly addresses: PipelineAddresses,
  ) {
    for (const stream of [child.stdout, child.stderr]) {
      stream?.on(
        'data',
        (chunk: Buffer) => (this.#output = (this.#output + chunk.toString()).slice(-OUTPUT_CHARACTERS)),
      );
    }
  }

  /**
   * Starts it and waits until it is ready.
   * @param protocol of the edge's address
   * @param keys settings of services, under those of the environment
   * @throws HoldfastError start_failed with what it said
   */
  static async start(
    directory: string,
    protocol: FleetProtocol,
    deviceSecret: string | undefined,
    keys: Readonly<Record<string, string>>,
  ): Promise<BurstPipeline> {
    const { environment, addresses } = await layOut(protocol);
    const inherited = Object.entries(inheritedEnvironment()).filter(([key]) => key !== 'STORAGE_URL');
    const secret = deviceSecret === undefined ? {} : { EDGE_DEVICE_SECRET: deviceSecret };
    const words = ['up', '--no-demo', '--data', directory];
    const child = fork(packagePath('dist', 'services', 'cli.js'), words, {
      env: { ...keys, ...Object.fromEntries(inherited), LOG_FORMAT: 'json', ...environment, ...secret },
      // Ctrl-C is for the burst, which stops it; the channel stops it where the burst cannot.
      detached: true,
      silent: true,
    });
    const pipeline = new BurstPipeline(child, addresses);
    try {
      await pipeline.#untilReady();
      return pipeline;
    } catch (error) {
      await pipeline.stop();
      throw error;
    }
  }

  async stop(): Promise<void> {
    if (this.#isOver) return;
    const exited = once(this.child, 'exit');
    const timer = setTimeout(() => this.child.kill('SIGKILL'), STOP_TIMEOUT_MS);
    this.child.kill('SIGTERM');
    await exited;
    clearTimeout(timer);
  }

  get #isOver(): boolean {
    return this.child.exitCode !== null || this.child.signalCode !== null;
  }

  async #untilReady(): Promise<void> {
    const timeout = AbortSignal.timeout(START_TIMEOUT_MS);
    const ended = new AbortController();
    this.child.once('exit', () => ended.abort());
    const signal = AbortSignal.any([timeout, ended.signal]);
    while (!this.#output.includes(READY)) {
      if (signal.aborted) {
        const what = timeout.aborted ? `was not ready after ${START_TIMEOUT_MS} ms` : 'ended while starting';
        throw new HoldfastError('start_failed', `the pipeline ${what}:\n${this.#output}`, true);
      }
      await once(this.child.stdout!, 'data', { signal }).catch(() => undefined);
    }
  }
}

async function layOut(protocol: FleetProtocol): Promise<{
  readonly environment: Readonly<Record<string, string>>;
  readonly addresses: PipelineAddresses;
}> {
  const ports = await freePorts(15);
  const at = (index: number): string => `127.0.0.1:${ports[index]!}`;
  const link = (index: number): string => `tcp://${at(index)}`;
  const environment = {
    EDGE_LISTEN: at(0),
    EDGE_ADMIN_LISTEN: at(1),
    EDGE_ROUTER: link(2),
    EDGE_DOWNLINK: link(3),
    ROUTER_INTAKE: link(2),
    ROUTER_PUBLISH: link(4),
    ROUTER_CONSUMERS_LISTEN: link(5),
    ROUTER_ADMIN_LISTEN: at(6),
    STORAGE_ROUTER_FETCH: link(5),
    STORAGE_ROUTER_PUBLISH: link(4),
    STORAGE_ADMIN_LISTEN: at(7),
    SHADOW_LISTEN: at(8),
    SHADOW_DOWNLINK: link(3),
    SHADOW_ADMIN_LISTEN: at(9),
    SHADOW_ROUTER_FETCH: link(5),
    SHADOW_ROUTER_PUBLISH: link(4),
    LIVE_LISTEN: at(10),
    LIVE_ADMIN_LISTEN: at(11),
    LIVE_ROUTER_PUBLISH: link(4),
    UP_POSTGRES_LISTEN: at(12),
    EDGE_UDP_LISTEN: at(13),
    EDGE_MQTT_LISTEN: at(14),
  };
  const edges = { json: `ws://${at(0)}`, binary: `ws://${at(0)}`, http: `http://${at(0)}` };
  const addresses = {
    edge: { ...edges, udp: `udp://${at(13)}`, mqtt: `mqtt://${at(14)}` }[protocol],
    databaseUrl: `postgres://holdfast@${at(12)}/holdfast`,
    edgeAdmin: at(1),
    routerAdmin: at(6),
    storageAdmin: at(7),
  };
  return { environment, addresses };
}

/** Ports of loopback that were free a moment ago, none twice. */
async function freePorts(count: number): Promise<number[]> {
  const ports = new Set<number>();
  for (let tries = 0; tries < PORTS && ports.size < count; tries++) {
    const port = FIRST_PORT + Math.floor(Math.random() * PORTS);
    if (!ports.has(port) && (await isPortFree(port))) ports.add(port);
  }
  if (ports.size < count) throw new HoldfastError('start_failed', 'there are no free ports on 127.0.0.1', true);
  return [...ports];
}
