#!/usr/bin/env -S node --title=holdfast------------------------------------------------------------------------
/**
 * The `holdfast` command: what every subcommand is for, with examples; the work is done in the rooms beside.
 *
 * A process's title can be as long as its command line was: the option above makes room for what services say there.
 */
import { Command } from 'commander';
import { describeFields, type Fields } from '../shared/config.js';
import { HoldfastError, messageOf } from '../shared/errors.js';
import { CONFIG_EXIT_CODE } from '../shared/lifecycle.js';
import { createLogger } from '../shared/log.js';
import { VERSION } from '../shared/version.js';
import { demoFields } from './demo/config.js';
import { edgeFields } from './edge/config.js';
import { fleetCommand } from './fleet/command.js';
import { healthCommand } from './health/health.js';
import { liveFields } from './live/config.js';
import { queueCommand } from './queue/command.js';
import { routerFields } from './router/config.js';
import { sendCommand } from './send/main.js';
import { readShadowConfig, shadowFields } from './shadow/config.js';
import { statusCommand } from './status/command.js';
import { storageFields } from './storage/config.js';

const program = new Command('holdfast')
  // Options after a subcommand are its own: fleet and fleet burst have some of the same name.
  .enablePositionalOptions()
  .version(VERSION)
  .description('Durable ingest for device fleets: an acked record is on disk and reaches the database exactly once.')
  .addHelpText('after', '\nExamples:\n  holdfast up\n  holdfast edge --help\n  holdfast queue inspect ./data/edge');

program
  .command('up')
  .description('runs the whole pipeline on this machine, with an embedded PostgreSQL and a demo fleet')
  .option('--data <dir>', 'where queues and database are kept', './data')
  .option('--no-demo', 'without the demo fleet')
  .addHelpText('after', '\nExamples:\n  holdfast up\n  holdfast up --data /var/lib/holdfast --no-demo')
  .action(async (options: { data: string; demo: boolean }) => {
    const { main } = await import('./up/main.js');
    await main(options);
  });

interface Service {
  readonly name: string;
  readonly about: string;
  readonly fields: Fields;
  readonly example: string;
  readonly load: () => Promise<{ main(): Promise<void> }>;
}

const services: readonly Service[] = [
  {
    name: 'edge',
    about: 'takes records from devices, keeps them on disk, forwards them to the router',
    fields: edgeFields,
    example: 'EDGE_QUEUE=/var/lib/holdfast/edge EDGE_ROUTER=tcp://router:7310 holdfast edge',
    load: () => import('./edge/main.js'),
  },
  {
    name: 'router',
    about: 'takes batches from edges, keeps them on disk, publishes them to storage, shadow and live',
    fields: routerFields,
    example: 'ROUTER_QUEUE=/var/lib/holdfast/router ROUTER_INTAKE=tcp://0.0.0.0:7310 holdfast router',
    load: () => import('./router/main.js'),
  },
  {
    name: 'storage',
    about: 'copies records into PostgreSQL or TimescaleDB, exactly once',
    fields: storageFields,
    example: 'STORAGE_URL=postgres://holdfast:…@db/holdfast STORAGE_ROUTER_FETCH=tcp://router:7312 holdfast storage',
    load: () => import('./storage/main.js'),
  },
  {
    name: 'live',
    about: 'sends records to WebSocket clients as they are published',
    fields: liveFields,
    example: 'LIVE_ROUTER_PUBLISH=tcp://router:7311 holdfast live',
    load: () => import('./live/main.js'),
  },
  {
    name: 'shadow',
    about:
      'keeps what devices report and what applications want of them, and sends the difference and commands to them',
    fields: shadowFields,
    example: 'SHADOW_DIRECTORY=/var/lib/holdfast/shadow SHADOW_ROUTER_FETCH=tcp://router:7312 holdfast shadow',
    load: () => import('./shadow/main.js'),
  },
  {
    name: 'demo',
    about: 'the demo fleet of holdfast up: 90 turbofan engines replay their readings',
    fields: demoFields,
    example: 'DEMO_EDGE=ws://127.0.0.1:7300 holdfast demo',
    load: () => import('./demo/main.js'),
  },
];

for (const { name, about, fields, example, load } of services) {
  program
    .command(name)
    .description(about)
    .addHelpText('after', `\nKeys, from the environment:\n${describeFields(fields)}\n\nExample:\n  ${example}`)
    .action(async () => (await load()).main());
}

program.addCommand(fleetCommand());
program.addCommand(sendCommand());
program.addCommand(
  queueCommand(async () => {
    const { openShadowPosition } = await import('./shadow/rewind.js');
    const config = readShadowConfig();
    return { router: config.fetch, open: () => openShadowPosition(config, createLogger('rewind', 2)) };
  }),
);
program.addCommand(statusCommand());
program.addCommand(
  healthCommand({
    edge: edgeFields.adminListen,
    router: routerFields.adminListen,
    shadow: shadowFields.adminListen,
    storage: storageFields.admin,
    live: liveFields.adminListen,
  }),
);

// As the services name themselves later, when they have more to say (shared/title.ts).
process.title = `holdfast-${process.argv.slice(2).join(' ')}`;
try {
  await program.parseAsync();
} catch (error) {
  process.stderr.write(`holdfast: ${messageOf(error)}\n`);
  process.exit(error instanceof HoldfastError && error.code === 'bad_config' ? CONFIG_EXIT_CODE : 1);
}
