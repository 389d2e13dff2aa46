/** The storage service: consumer → merges → PostgreSQL. Wiring only. */
import { Admin } from '../../shared/admin.js';
import { Consumer } from '../../shared/consumer.js';
import { ContextCache } from '../../shared/context.js';
import { exitWith, runService } from '../../shared/lifecycle.js';
import { createLogger } from '../../shared/log.js';
import { createRegistry } from '../../shared/metrics.js';
import { showTitle } from '../../shared/title.js';
import { readStorageConfig } from './config.js';
import { Maintenance } from './maintenance.js';
import { CONSUMER, Positions } from './positions.js';
import { Storage } from './storage.js';

export async function main(): Promise<void> {
  const config = readStorageConfig();
  const { url, timescale, retentionMs } = config;
  const log = createLogger('storage');
  const registry = createRegistry('storage');
  const schema = { timescale, retentionMs, log };
  const positions = new Positions({ url, ...schema });
  const context = new ContextCache({ url, log });
  const consumer = new Consumer({
    name: CONSUMER,
    fetch: config.fetch,
    publish: config.publish,
    maxBufferBytes: config.mergeBytes,
    resume: (queueId, cursor) => positions.resume(queueId, cursor),
    log,
  });
  const storage = new Storage({
    url,
    ...schema,
    source: consumer,
    positions,
    context,
    limits: { rows: config.mergeRows, bytes: config.mergeBytes, waitMs: config.mergeWaitMs },
    registry,
    onFailure: (error) => exitWith(log, error, 'storage stopped'),
  });
  const waitingFor = (): string[] => [...(consumer.attached ? [] : ['router']), ...(storage.ready ? [] : ['database'])];
  await runService(log, [
    new Admin(config.admin, registry, waitingFor),
    context,
    new Maintenance({ url, ...schema }),
    consumer,
    storage,
    showTitle('storage', () => `stored=${storage.stored}`),
  ]);
  log.info({ fetch: config.fetch }, 'storage is up');
}
