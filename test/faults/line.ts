/** An edge and a router without storage, under one fleet: what the faults of their queues are tried on. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DATA_FILE } from '../../shared/queue/store.js';
import { freePorts, ServiceProcess, until } from '../support/processes.js';
import { Fleet } from './fleet.js';
import type { Findings } from './history/findings.js';

export type LineService = 'edge' | 'router';

/** A host beside the test's own: services listen on all its addresses there. */
export interface LineHost {
  readonly launcher: readonly string[];
  /** Where the test finds it. */
  readonly address: string;
}

export interface LineOptions {
  /** Where the services run; absent: with the test, on loopback. */
  readonly hosts?: Readonly<Record<LineService, LineHost>>;
  /** Keys on top of the line's own, for both. */
  readonly environment?: Readonly<Record<string, string>>;
  /** Where the queues are; absent: in directories of the line's own. */
  readonly queues?: Readonly<Partial<Record<LineService, string>>>;
  /** Where the edge finds the router; absent: on loopback. */
  readonly routerUrl?: (intakePort: number) => string;
  /** Puts something before the intake. @returns the port where that listens */
  readonly proxy?: (intakePort: number) => Promise<number>;
}

const LOOPBACK: Readonly<Record<LineService, LineHost>> = {
  edge: { launcher: [], address: '127.0.0.1' },
  router: { launcher: [], address: '127.0.0.1' },
};

export class Line {
  readonly services: Readonly<Record<LineService, ServiceProcess>>;

  private constructor(
    readonly directory: string,
    readonly queues: Readonly<Record<LineService, string>>,
    readonly edgePort: number,
    /** Where the router publishes. */
    readonly publishPort: number,
    private readonly environment: Readonly<Record<string, string>>,
    private readonly adminPorts: Readonly<Record<LineService, number>>,
    private readonly hosts: Readonly<Record<LineService, LineHost>>,
  ) {
    this.services = { edge: this.service('edge'), router: this.service('router') };
  }

  /** A line that is not started yet. */
  static async make(options: LineOptions = {}): Promise<Line> {
    const directory = await mkdtemp(join(tmpdir(), 'holdfast-line-'));
    const ports = (await freePorts(6)) as [number, number, number, number, number, number];
    const [edge, edgeAdmin, intake, publish, fetch, routerAdmin] = ports;
    const queues = { edge: join(directory, 'edge'), router: join(directory, 'router'), ...options.queues };
    const { routerUrl = (port: number) => `tcp://127.0.0.1:${port}`, proxy, hosts = LOOPBACK } = options;
    const here = options.hosts === undefined ? '127.0.0.1' : '0.0.0.0';
    const environment = {
      EDGE_LISTEN: `${here}:${edge}`,
      EDGE_UDP_LISTEN: 'off',
      EDGE_MQTT_LISTEN: 'off',
      EDGE_ADMIN_LISTEN: `${here}:${edgeAdmin}`,
      EDGE_QUEUE: queues.edge,
      EDGE_ROUTER: routerUrl((await proxy?.(intake)) ?? intake),
      ROUTER_QUEUE: queues.router,
      ROUTER_INTAKE: `tcp://${here}:${intake}`,
      ROUTER_PUBLISH: `tcp://${here}:${publish}`,
      ROUTER_CONSUMERS_LISTEN: `tcp://127.0.0.1:${fetch}`,
      ROUTER_ADMIN_LISTEN: `${here}:${routerAdmin}`,
      // Nobody consumes: the router keeps all that comes.
      ROUTER_CONSUMERS: 'storage',
      ...options.environment,
    };
    return new Line(directory, queues, edge, publish, environment, { edge: edgeAdmin, router: routerAdmin }, hosts);
  }

  static async start(options: LineOptions = {}): Promise<Line> {
    const line = await Line.make(options);
    await line.begin();
    return line;
  }

  /** Starts both and waits until they are ready. */
  async begin(): Promise<void> {
    await Promise.all(Object.values(this.services).map((service) => service.start()));
  }

  get edgeUrl(): string {
    return `ws://127.0.0.1:${this.edgePort}`;
  }

  /** Another process for a service, with words in front of node; for as long as the line's own does not run. */
  service(name: LineService, launcher: readonly string[] = []): ServiceProcess {
    const { launcher: there, address } = this.hosts[name];
    const words = [...there, ...launcher];
    return new ServiceProcess([name], this.environment, this.adminPorts[name], words, undefined, address);
  }

  dataFile(name: LineService): string {
    return join(this.queues[name], DATA_FILE);
  }

  /** Waits until the router holds everything, ends both and checks. @param isOnce no device had to send again */
  async check(fleet: Fleet, isOnce = false): Promise<Findings> {
    const { edge } = this.services;
    await until(async () => (await edge.metric('holdfast_queue_records')) === 0);
    await this.end();
    return fleet.history.check({ routerQueue: this.queues.router, routerRules: { holdsAll: true, isOnce } });
  }

  /** Ends both. */
  async end(): Promise<void> {
    await this.services.edge.end();
    await this.services.router.end();
  }

  /** Ends both and removes the directory. */
  async stop(): Promise<void> {
    await this.end();
    await rm(this.directory, { recursive: true, force: true });
  }
}
