/** Live: WebSocket fan-out of telemetry. Wiring only. */
import { Admin } from '../../shared/admin.js';
import { exitWith, runService } from '../../shared/lifecycle.js';
import { createLogger } from '../../shared/log.js';
import { createRegistry } from '../../shared/metrics.js';
import { showTitle } from '../../shared/title.js';
import { readLiveConfig } from './config.js';
import { createLive } from './live.js';

export async function main(): Promise<void> {
  const log = createLogger('live');
  const config = readLiveConfig();
  const registry = createRegistry('live');
  const live = createLive(config, log, registry, (error) => exitWith(log, error, 'live failed'));
  const waitingFor = (): readonly string[] => (live.subscription.connected ? [] : ['the router']);
  await runService(log, [
    new Admin(config.adminListen, registry, waitingFor),
    ...live.parts,
    showTitle('live', () => `:${config.listen.port} clients=${live.endpoint.clients}`),
  ]);
  log.info({ port: live.endpoint.port, router: config.routerPublish }, 'live is up');
}
