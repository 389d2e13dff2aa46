/** Shadow: what things are and what applications want of them. Wiring only. */
import { Admin } from '../../shared/admin.js';
import { runService } from '../../shared/lifecycle.js';
import { createLogger } from '../../shared/log.js';
import { createRegistry } from '../../shared/metrics.js';
import { showTitle } from '../../shared/title.js';
import { readShadowConfig } from './config.js';

export async function main(): Promise<void> {
  const log = createLogger('shadow');
  const config = readShadowConfig();
  await runService(log, [
    new Admin(config.adminListen, createRegistry('shadow'), () => []),
    showTitle('shadow', () => `:${config.listen.port}`),
  ]);
}
