/** A router as a process, on free ports, with its queue in a directory of the test. */
import type { Test } from 'tap';
import { Consumer, type ConsumerOptions } from '../../shared/consumer.js';
import { formatPosition, START, type Position } from '../../shared/position.js';
import { seqsOf } from './batches.js';
import { silent } from './postgres.js';
import { freePorts, ServiceProcess } from './processes.js';
import { testDirectory } from './directory.js';

/** Where consumers find a router. */
export interface RouterEndpoints {
  readonly publish: string;
  readonly consumers: string;
}

export class TestRouter {
  private constructor(
    readonly queuePath: string,
    readonly intake: string,
    readonly publish: string,
    readonly consumers: string,
    readonly process: ServiceProcess,
  ) {}

  /** A router that is not started yet; it ends with the test. */
  static async make(t: Test, queuePath: string, keys: Readonly<Record<string, string>> = {}): Promise<TestRouter> {
    const ports = await freePorts(4);
    const [intake, publish, consumers] = ports.map((port) => `tcp://127.0.0.1:${port}`) as [string, string, string];
    const environment = {
      ROUTER_QUEUE: queuePath,
      ROUTER_INTAKE: intake,
      ROUTER_PUBLISH: publish,
      ROUTER_CONSUMERS_LISTEN: consumers,
      ROUTER_ADMIN_LISTEN: `127.0.0.1:${ports[3]!}`,
      ROUTER_DISK_FLOOR: '0',
      ...keys,
    };
    const process = new ServiceProcess(['router'], environment, ports[3]!);
    t.teardown(() => process.end('SIGKILL'));
    return new TestRouter(queuePath, intake, publish, consumers, process);
  }

  static async start(t: Test, keys: Readonly<Record<string, string>> = {}): Promise<TestRouter> {
    const router = await TestRouter.make(t, testDirectory(t), keys);
    await router.process.start();
    return router;
  }
}

/** A consumer that takes what comes, checks that it is in order and without a gap, and acks when it is told to. */
export class TestConsumer {
  readonly seqs: number[] = [];
  readonly positions: string[] = [];
  readonly queueIds: string[] = [];
  readonly resumes: { queueId: string; cursor: Position }[] = [];
  through: Position = START;
  readonly consumer: Consumer;
  #queueId = '';

  constructor(router: RouterEndpoints, options: Partial<ConsumerOptions> = {}) {
    this.consumer = new Consumer({
      name: 'storage',
      fetch: router.consumers,
      publish: router.publish,
      maxBufferBytes: 2 ** 22,
      log: silent,
      resume: (queueId, cursor) => {
        this.resumes.push({ queueId, cursor });
        return Promise.resolve(cursor);
      },
      ...options,
    });
  }

  static async start(t: Test, router: RouterEndpoints, options: Partial<ConsumerOptions> = {}): Promise<TestConsumer> {
    const test = new TestConsumer(router, options);
    await test.consumer.start();
    t.teardown(() => test.consumer.stop());
    return test;
  }

  /** Reads until `count` records have come in all. */
  async untilRecords(count: number, maxBytes = 2 ** 20): Promise<void> {
    while (this.seqs.length < count) await this.readOnce(maxBytes);
  }

  /** Reads one delivery. */
  async readOnce(maxBytes = 2 ** 20): Promise<void> {
    const delivery = await this.consumer.read(maxBytes);
    if (delivery === undefined) throw new Error('the consumer was stopped');
    this.#queueId = delivery.queueId;
    for (const batch of delivery.batches) {
      this.seqs.push(...seqsOf(batch));
      this.positions.push(formatPosition({ epoch: batch.readDoubleLE(16), offset: batch.readDoubleLE(24) }));
    }
    this.queueIds.push(delivery.queueId);
    this.through = delivery.through;
  }

  ack(position: Position = this.through): void {
    this.consumer.ack(this.#queueId, position);
  }
}
