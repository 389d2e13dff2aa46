#!/usr/bin/env node
/** The `holdfast` command. */
import { Command } from 'commander';
import { describeFields } from '../shared/config.js';
import { VERSION } from '../shared/version.js';
import { edgeFields } from './edge/config.js';
import { routerFields } from './router/config.js';

const program = new Command('holdfast').version(VERSION).description('durable ingest for device fleets');

program
  .command('edge')
  .description('takes records from devices, keeps them, forwards them to the router')
  .addHelpText(
    'after',
    `\nKeys (environment):\n${describeFields(edgeFields)}\n\nExample:\n  EDGE_QUEUE=/var/lib/holdfast/edge holdfast edge`,
  )
  .action(async () => (await import('./edge/main.js')).main());

program
  .command('router')
  .description('takes batches from edges, keeps them, publishes them to storage, shadow and live')
  .addHelpText(
    'after',
    `\nKeys (environment):\n${describeFields(routerFields)}\n\nExample:\n  ROUTER_QUEUE=/var/lib/holdfast/router holdfast router`,
  )
  .action(async () => (await import('./router/main.js')).main());

await program.parseAsync();
