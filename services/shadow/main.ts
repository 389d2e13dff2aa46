/** Shadow: consumer → things → store; HTTP and the downlink beside it. Wiring only. */
import { Admin } from '../../shared/admin.js';
import { Consumer } from '../../shared/consumer.js';
import { ContextCache } from '../../shared/context.js';
import { exitWith, runService } from '../../shared/lifecycle.js';
import { createLogger } from '../../shared/log.js';
import { createRegistry } from '../../shared/metrics.js';
import { showTitle } from '../../shared/title.js';
import { readShadowConfig } from './config.js';
import { createShadow, type Shadow } from './shadow.js';

/** Batches that wait to be applied. */
const BUFFER_BYTES = 16 * 1024 * 1024;

export async function main(): Promise<void> {
  const config = readShadowConfig();
  const log = createLogger('shadow');
  const registry = createRegistry('shadow');
  const consumer = new Consumer({
    name: 'shadow',
    fetch: config.fetch,
    publish: config.publish,
    maxBufferBytes: BUFFER_BYTES,
    resume: (queueId) => shadow.things.resume(queueId),
    log,
  });
  const context = config.databaseUrl === undefined ? undefined : new ContextCache({ url: config.databaseUrl, log });
  const shadow: Shadow = createShadow({
    config,
    source: consumer,
    context,
    registry,
    log,
    onFailure: (error) => exitWith(log, error, 'shadow failed'),
  });
  const waitingFor = (): string[] => [
    ...(shadow.store.ready ? [] : ['store']),
    ...(consumer.attached ? [] : ['router']),
  ];
  await runService(log, [
    new Admin(config.adminListen, registry, waitingFor),
    ...(context === undefined ? [] : [context]),
    ...shadow.parts,
    consumer,
    showTitle('shadow', () => `:${config.listen.port} things=${shadow.things.hot}`),
  ]);
  log.info({ listen: config.listen, store: config.store }, 'shadow is up');
}
