/**
 * Edges, a router and shadow (storage with a PostgreSQL, and live, where a test asks for them): real processes on free ports, in
 * a directory that goes with them. Each can be killed and started again.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Test } from 'tap';
import { TestPostgres } from './postgres.js';
import { freePorts, ServiceProcess, until } from './processes.js';
import type { ShadowClient } from './shadow-client.js';
import { TestShadow } from './shadow.js';

export interface ShadowPipelineOptions {
  /** Default: 1. */
  readonly edges?: number;
  /** Whether storage runs, with a database. */
  readonly storage?: boolean;
  /** The password in the URLs of the database, which lets everybody in. */
  readonly databasePassword?: string;
  /** Whether live runs. */
  readonly live?: boolean;
  /** The URL of a Redis to keep things in; absent: LMDB. */
  readonly redisUrl?: string;
  /** Keys on top of the pipeline's own, for all services. */
  readonly environment?: Readonly<Record<string, string>>;
  /** A copy of the package to run instead, with a planted bug. */
  readonly root?: string;
}

/** An edge, and where devices find it. */
export interface PipelineEdge {
  readonly process: ServiceProcess;
  readonly port: number;
  readonly url: string;
}

/** Live, and where clients find it. */
export interface PipelineLive {
  readonly process: ServiceProcess;
  readonly url: string;
}

export class ShadowPipeline {
  private constructor(
    readonly directory: string,
    readonly edges: readonly PipelineEdge[],
    readonly router: ServiceProcess,
    readonly shadow: ServiceProcess,
    readonly client: ShadowClient,
    readonly storage: ServiceProcess | undefined,
    readonly live: PipelineLive | undefined,
    readonly postgres: TestPostgres | undefined,
  ) {}

  /** The first edge. */
  get edge(): PipelineEdge {
    return this.edges[0]!;
  }

  get databaseUrl(): string {
    return this.postgres!.url;
  }

  /** A pipeline whose services are ready; it ends with the test. */
  static async start(t: Test, options: ShadowPipelineOptions = {}): Promise<ShadowPipeline> {
    const pipeline = await ShadowPipeline.open(options);
    t.teardown(() => pipeline.stop());
    return pipeline;
  }

  /** A pipeline whose services are ready; the caller stops it. */
  static async open(options: ShadowPipelineOptions = {}): Promise<ShadowPipeline> {
    const { root, redisUrl, environment = {} } = options;
    const directory = await mkdtemp(join(tmpdir(), 'holdfast-shadow-'));
    const [intake, publish, fetch, routerAdmin, storageAdmin] = (await freePorts(5)) as [number, ...number[]];
    const routerEndpoints = { publish: `tcp://127.0.0.1:${publish!}`, consumers: `tcp://127.0.0.1:${fetch!}` };
    const postgres = options.storage === true ? await TestPostgres.start() : undefined;
    const databaseUrl = postgres && withPassword(postgres.url, options.databasePassword);
    const router = new ServiceProcess(
      ['router'],
      {
        ROUTER_QUEUE: join(directory, 'router'),
        ROUTER_INTAKE: `tcp://127.0.0.1:${intake}`,
        ROUTER_PUBLISH: routerEndpoints.publish,
        ROUTER_CONSUMERS_LISTEN: routerEndpoints.consumers,
        ROUTER_CONSUMERS: postgres === undefined ? 'shadow' : 'storage,shadow',
        ROUTER_ADMIN_LISTEN: `127.0.0.1:${routerAdmin!}`,
        ...environment,
      },
      routerAdmin!,
      [],
      root,
    );
    const shadow = await TestShadow.make(join(directory, 'shadow'), {
      router: routerEndpoints,
      ...(redisUrl === undefined ? {} : { redisUrl }),
      environment: { ...(databaseUrl === undefined ? {} : { SHADOW_DATABASE_URL: databaseUrl }), ...environment },
      ...(root === undefined ? {} : { root }),
    });
    const edges: PipelineEdge[] = [];
    for (let index = 0; index < (options.edges ?? 1); index++) {
      const keys = { EDGE_QUEUE: join(directory, `edge-${index}`), EDGE_ROUTER: `tcp://127.0.0.1:${intake}` };
      edges.push(await makeEdge({ ...keys, EDGE_DOWNLINK: shadow.downlink, ...environment }, root));
    }
    const storage =
      databaseUrl === undefined
        ? undefined
        : new ServiceProcess(
            ['storage'],
            {
              STORAGE_URL: databaseUrl,
              STORAGE_ROUTER_FETCH: routerEndpoints.consumers,
              STORAGE_ROUTER_PUBLISH: routerEndpoints.publish,
              STORAGE_ADMIN_LISTEN: `127.0.0.1:${storageAdmin!}`,
              ...environment,
            },
            storageAdmin!,
            [],
            root,
          );
    const liveKeys = {
      LIVE_ROUTER_PUBLISH: routerEndpoints.publish,
      ...(databaseUrl === undefined ? {} : { LIVE_DATABASE_URL: databaseUrl }),
      ...environment,
    };
    const live = options.live === true ? await makeLive(liveKeys, root) : undefined;
    const { process, client } = shadow;
    const pipeline = new ShadowPipeline(directory, edges, router, process, client, storage, live, postgres);
    try {
      await Promise.all(pipeline.services.map((service) => service.start()));
      return pipeline;
    } catch (error) {
      await pipeline.stop();
      throw error;
    }
  }

  /** Ends everything and removes the directory. */
  async stop(): Promise<void> {
    for (const service of this.services) await service.end();
    await this.postgres?.stop();
    await rm(this.directory, { recursive: true, force: true });
  }

  /** Along the records' way. */
  get services(): readonly ServiceProcess[] {
    const edges = this.edges.map(({ process }) => process);
    const services = [...edges, this.router, this.shadow, this.storage, this.live?.process];
    return services.filter((service) => service !== undefined);
  }
}

async function makeEdge(keys: Readonly<Record<string, string>>, root?: string): Promise<PipelineEdge> {
  const [port, adminPort] = (await freePorts(2)) as [number, number];
  const environment = {
    EDGE_LISTEN: `127.0.0.1:${port}`,
    EDGE_UDP_LISTEN: 'off',
    EDGE_MQTT_LISTEN: 'off',
    EDGE_ADMIN_LISTEN: `127.0.0.1:${adminPort}`,
    ...keys,
  };
  const process = new ServiceProcess(['edge'], environment, adminPort, [], root);
  return { process, port, url: `ws://127.0.0.1:${port}` };
}

async function makeLive(keys: Readonly<Record<string, string>>, root?: string): Promise<PipelineLive> {
  const [port, adminPort] = (await freePorts(2)) as [number, number];
  const environment = { LIVE_LISTEN: `127.0.0.1:${port}`, LIVE_ADMIN_LISTEN: `127.0.0.1:${adminPort}`, ...keys };
  const process = new ServiceProcess(['live'], environment, adminPort, [], root);
  return { process, url: `ws://127.0.0.1:${port}/v1/live` };
}

function withPassword(databaseUrl: string, password: string | undefined): string {
  const url = new URL(databaseUrl);
  if (password !== undefined) url.password = password;
  return url.href;
}

/** Waits until shadow has applied everything that was acked, and the router may forget it. */
export async function untilApplied({ edges, router, shadow }: ShadowPipeline): Promise<void> {
  await shadow.untilReady();
  for (const { process } of edges) await until(async () => (await process.metric('holdfast_queue_records')) === 0);
  await until(async () => (await router.metric('holdfast_queue_records')) === 0);
}
