/** Edge, router, storage and a PostgreSQL for one test: real processes on free ports, in a directory that goes with it. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { TestPostgres } from './postgres.js';
import { freePorts, ServiceProcess } from './processes.js';

export type PipelineService = 'edge' | 'router' | 'storage';

export interface PipelineOptions {
  /** Keys on top of the pipeline's own, for all services. */
  readonly environment?: Readonly<Record<string, string>>;
  /** A copy of the package to run instead, with a planted bug. */
  readonly root?: string;
  /** An empty database to store into; absent: a PostgreSQL of the pipeline's own, which goes with it. */
  readonly databaseUrl?: string;
  /** Where the pipeline's own PostgreSQL keeps its files; absent: in a directory of its own. */
  readonly postgresIn?: string;
  /** Puts something between storage and the database. @returns the URL by way of it */
  readonly throughProxy?: (databaseUrl: string) => Promise<string>;
}

export class Pipeline {
  private constructor(
    readonly directory: string,
    private readonly ownPostgres: TestPostgres | undefined,
    readonly databaseUrl: string,
    readonly services: Readonly<Record<PipelineService, ServiceProcess>>,
    readonly edgeUrl: string,
    /** Where the edge takes datagrams. */
    readonly udpPort: number,
    /** What each service was given: more processes of the same pipeline start from it. */
    readonly environment: Readonly<Record<string, string>>,
  ) {}

  static async start(options: PipelineOptions = {}): Promise<Pipeline> {
    const { environment = {}, root } = options;
    const directory = await mkdtemp(join(tmpdir(), 'holdfast-pipeline-'));
    const postgres = options.databaseUrl === undefined ? await TestPostgres.start(options.postgresIn) : undefined;
    const databaseUrl = options.databaseUrl ?? postgres!.url;
    const [edge, edgeAdmin, intake, publish, fetch, routerAdmin, storageAdmin, udp] = await freePorts(8);
    const keys = {
      EDGE_LISTEN: `127.0.0.1:${edge!}`,
      EDGE_UDP_LISTEN: `127.0.0.1:${udp!}`,
      EDGE_MQTT_LISTEN: 'off',
      EDGE_ADMIN_LISTEN: `127.0.0.1:${edgeAdmin!}`,
      EDGE_QUEUE: join(directory, 'edge'),
      EDGE_ROUTER: `tcp://127.0.0.1:${intake!}`,
      ROUTER_QUEUE: join(directory, 'router'),
      ROUTER_INTAKE: `tcp://127.0.0.1:${intake!}`,
      ROUTER_PUBLISH: `tcp://127.0.0.1:${publish!}`,
      ROUTER_CONSUMERS_LISTEN: `tcp://127.0.0.1:${fetch!}`,
      ROUTER_ADMIN_LISTEN: `127.0.0.1:${routerAdmin!}`,
      STORAGE_URL: (await options.throughProxy?.(databaseUrl)) ?? databaseUrl,
      STORAGE_ROUTER_FETCH: `tcp://127.0.0.1:${fetch!}`,
      STORAGE_ROUTER_PUBLISH: `tcp://127.0.0.1:${publish!}`,
      STORAGE_ADMIN_LISTEN: `127.0.0.1:${storageAdmin!}`,
      ...environment,
    };
    const service = (name: PipelineService, adminPort: number): ServiceProcess =>
      new ServiceProcess([name], keys, adminPort, [], root);
    const services = {
      edge: service('edge', edgeAdmin!),
      router: service('router', routerAdmin!),
      storage: service('storage', storageAdmin!),
    };
    await Promise.all(Object.values(services).map((each) => each.start()));
    return new Pipeline(directory, postgres, databaseUrl, services, `ws://127.0.0.1:${edge!}`, udp!, keys);
  }

  /** The pipeline's own PostgreSQL. @throws Error where it was given a database */
  get postgres(): TestPostgres {
    if (this.ownPostgres === undefined) throw new Error('this pipeline has no PostgreSQL of its own');
    return this.ownPostgres;
  }

  get edgeQueue(): string {
    return this.environment['EDGE_QUEUE']!;
  }

  get routerQueue(): string {
    return this.environment['ROUTER_QUEUE']!;
  }

  /** Ends everything and removes the directory. */
  async stop(): Promise<void> {
    for (const service of [this.services.edge, this.services.router, this.services.storage]) await service.end();
    await this.ownPostgres?.stop();
    await rm(this.directory, { recursive: true, force: true });
  }
}
