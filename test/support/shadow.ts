/** A shadow of a test's own: a real process on free ports, over LMDB in a directory of the test or over a Redis. */
import type { Test } from 'tap';
import { freePorts, ServiceProcess } from './processes.js';
import { ShadowClient } from './shadow-client.js';
import type { RouterEndpoints } from './router.js';
import { testDirectory } from './directory.js';

export interface TestShadowOptions {
  /** Where the router is; absent: nowhere. */
  readonly router?: RouterEndpoints;
  /** The URL of a Redis to keep things in; absent: LMDB. */
  readonly redisUrl?: string;
  /** Keys on top of its own. */
  readonly environment?: Readonly<Record<string, string>>;
  /** A copy of the package to run instead, with a planted bug. */
  readonly root?: string;
}

export class TestShadow {
  readonly client: ShadowClient;

  private constructor(
    readonly directory: string,
    readonly downlink: string,
    readonly process: ServiceProcess,
    port: number,
    token: string | undefined,
  ) {
    this.client = new ShadowClient(`http://127.0.0.1:${port}`, token);
  }

  /**
   * A shadow that is not started yet.
   * @param directory where the LMDB store lies
   */
  static async make(directory: string, options: TestShadowOptions = {}): Promise<TestShadow> {
    const { router, redisUrl, environment = {}, root } = options;
    const [port, adminPort, downlinkPort, nobody] = (await freePorts(4)) as [number, number, number, number];
    const downlink = `tcp://127.0.0.1:${downlinkPort}`;
    const nowhere = `tcp://127.0.0.1:${nobody}`;
    const keys = {
      SHADOW_LISTEN: `127.0.0.1:${port}`,
      SHADOW_ADMIN_LISTEN: `127.0.0.1:${adminPort}`,
      SHADOW_DOWNLINK: downlink,
      SHADOW_ROUTER_FETCH: router?.consumers ?? nowhere,
      SHADOW_ROUTER_PUBLISH: router?.publish ?? nowhere,
      SHADOW_DIRECTORY: directory,
      SHADOW_DISK_FLOOR: '0',
      ...(redisUrl === undefined ? {} : { SHADOW_STORE: 'redis', SHADOW_REDIS: redisUrl }),
      ...environment,
    };
    const process = new ServiceProcess(['shadow'], keys, adminPort, [], root);
    return new TestShadow(directory, downlink, process, port, environment['SHADOW_API_TOKEN']);
  }

  /** A shadow that is ready; it ends with the test. */
  static async start(t: Test, options: TestShadowOptions = {}): Promise<TestShadow> {
    const shadow = await TestShadow.make(testDirectory(t), options);
    t.teardown(() => shadow.process.end('SIGKILL'));
    await shadow.process.start();
    return shadow;
  }
}
