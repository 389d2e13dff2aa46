/** The demo fleet: 90 turbofan engines replay real readings. Wiring only. */
import { runService } from '../../shared/lifecycle.js';
import { createLogger } from '../../shared/log.js';
import { showTitle } from '../../shared/title.js';
import { readDemoConfig } from './config.js';
import { DevicesTable } from './devices-table.js';
import { readEngines } from './engines.js';
import { Fleet } from './fleet.js';

export async function main(): Promise<void> {
  const config = readDemoConfig();
  const log = createLogger('demo');
  const engines = readEngines();
  const fleet = new Fleet(engines, config, log);
  await runService(log, [
    showTitle('demo', () => `engines=${engines.length} acked=${fleet.acked} unacked=${fleet.unacked}`),
    new DevicesTable(config.databaseUrl, engines, log),
    fleet,
  ]);
  log.info({ engines: engines.length, edge: config.edge }, 'the fleet is under way');
}
