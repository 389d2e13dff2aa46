/** The router of a shard: intake → queue → publish, and the cursors of its consumers. Wiring only. */
import { Admin } from '../../shared/admin.js';
import { exitWith, runService } from '../../shared/lifecycle.js';
import { createLogger } from '../../shared/log.js';
import { createRegistry, Gauge, registerQueueGauges } from '../../shared/metrics.js';
import { Monitor } from '../../shared/monitor.js';
import { Queue } from '../../shared/queue/queue.js';
import { showTitle } from '../../shared/title.js';
import { readRouterConfig } from './config.js';
import { Consumers } from './consumers.js';
import { Intake } from './intake.js';
import { RouterMetrics } from './metrics.js';
import type { PublishSettings } from './publish.js';

export async function main(): Promise<void> {
  const config = readRouterConfig();
  const log = createLogger('router');
  const registry = createRegistry('router');
  const metrics = new RouterMetrics(registry);
  const fail = (error: unknown): never => exitWith(log, error, 'the router failed');

  const queue = Queue.open(config.queuePath, { ...config, onFailure: fail });
  const monitor = new Monitor<PublishSettings>({
    name: 'publish',
    script: new URL('./publish.js', import.meta.url),
    queue,
    settings: { endpoint: config.publish },
    onReport: ({ records }) => metrics.recordsOut.inc(records ?? 0),
    onFailure: fail,
  });
  const consumers = new Consumers(config.consumersListen, config.consumers, queue, metrics, log, fail);
  const intake = new Intake(config.intake, config.shard, queue, metrics, log, fail);
  const waiting: string[] = ['start'];
  registerQueueGauges(registry, 'fan-in', () => queue.stats());
  new Gauge({
    name: 'holdfast_consumer_lag_batches',
    help: 'batches between a consumer and the head',
    labelNames: ['consumer'],
    registers: [registry],
    collect() {
      for (const [consumer, lag] of consumers.lags()) this.set({ consumer }, lag);
    },
  });

  await runService(log, [
    { name: 'queue', stop: () => queue.close() },
    new Admin(config.adminListen, registry, () => waiting),
    monitor,
    consumers,
    intake,
    showTitle('router', () => `edges=${intake.sessions} queued=${queue.records}`),
  ]);
  waiting.length = 0;
  log.info({ queue: queue.path, queueId: queue.id, intake: config.intake }, 'router is up');
}
