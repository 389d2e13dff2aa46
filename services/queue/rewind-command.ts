/** `holdfast queue rewind`, which changes where a consumer is, and no queue. */
import { Command } from 'commander';
import { databaseUrl, endpoint, readConfig } from '../../shared/config.js';
import { HoldfastError } from '../../shared/errors.js';
import type { Position } from '../../shared/position.js';
import { parserOf, toTarget } from './options.js';
import type { ConsumerPosition } from './rewind.js';
import { print } from './terminal.js';

/** A consumer that can be rewound. */
export interface Rewindable {
  /** The router's consumer endpoint, as the consumer is configured. */
  readonly router: string;
  readonly open: () => Promise<ConsumerPosition>;
}

const HELP = `
Has storage or shadow read again what the router still holds (ROUTER_RETAIN on the router, behind what every consumer has acked).
Each goes by its own position, which this sets back: storage's is in consumer_positions of its database, shadow's in its store. Stop
it first; the router must run. A time is that of the commit at the router.

storage: rows have a key, so that nothing is stored twice.
shadow: what devices said is applied again. Every field keeps the time at which it was said, so states and newest readings come out as
they are, and nothing newer is turned back; versions rise once more. Desired states and commands are not in the queue and stay as they
are. A shadow that an application has deleted comes back where a report of before is read again.

Refused, with nothing changed and exit code 1: the consumer is at work; the position is not behind its own; batches after it are
not there any more (--partial: read those that are).

Environment: the keys of the consumer that is rewound. For storage:
  STORAGE_URL           the database (--database)
  STORAGE_ROUTER_FETCH  the router's consumer endpoint (--router)
For shadow those that "holdfast shadow --help" lists, as SHADOW_STORE, SHADOW_DIRECTORY, SHADOW_REDIS, SHADOW_ROUTER_FETCH.

Examples:
  holdfast queue rewind storage --to 2026-11-20T08:00:00Z
  holdfast queue rewind storage --to 1732112345678:4711 --router tcp://router:7312 --json
  SHADOW_DIRECTORY=/var/lib/holdfast/shadow holdfast queue rewind shadow --to 0:0 --partial`;

export const rewindFields = {
  database: databaseUrl('STORAGE_URL', 'postgres://holdfast@127.0.0.1:7332/holdfast', "storage's database"),
  router: endpoint('STORAGE_ROUTER_FETCH', 'tcp://127.0.0.1:7312', "the router's consumer endpoint"),
} as const;

interface RewindFlags {
  readonly to: Position | Date;
  readonly router?: string;
  readonly database?: string;
  readonly partial?: boolean;
  readonly json?: boolean;
}

/** @param shadow reads shadow's configuration */
export function rewindCommand(shadow: () => Promise<Rewindable>): Command {
  return new Command('rewind')
    .description('has storage or shadow read again what the router still holds')
    .argument('<consumer>', 'storage or shadow')
    .requiredOption('--to <position|time>', 'epoch:offset, after which it reads on, or an ISO time', toTarget)
    .option('--router <endpoint>', "the router's consumer endpoint", parserOf(rewindFields.router))
    .option('--database <url>', "storage's database", parserOf(rewindFields.database))
    .option('--partial', 'also where batches after the position are gone')
    .option('--json', 'as JSON')
    .addHelpText('after', HELP)
    .action(async (consumer: string, flags: RewindFlags) => {
      const { router, open } = await findConsumer(consumer, flags, shadow);
      const partial = flags.partial === true;
      const { describeRewind, rewind } = await import('./rewind.js');
      const result = await rewind({ consumer, to: flags.to, router: flags.router ?? router, open, partial });
      print(flags.json, result, describeRewind);
    });
}

async function findConsumer(
  consumer: string,
  { database }: RewindFlags,
  shadow: () => Promise<Rewindable>,
): Promise<Rewindable> {
  if (consumer === 'shadow') {
    if (database === undefined) return shadow();
    throw new HoldfastError('bad_config', "--database is storage's; shadow's store is named by its keys", false);
  }
  if (consumer !== 'storage') {
    const message = `${JSON.stringify(consumer)} cannot be rewound: storage and shadow can`;
    throw new HoldfastError('bad_config', message, false);
  }
  const config = readConfig('REWIND', rewindFields);
  const { openStoragePosition } = await import('./storage-position.js');
  return { router: config.router, open: () => openStoragePosition(database ?? config.database) };
}
