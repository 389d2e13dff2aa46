/**
 * The commands of `holdfast queue` that change something. replay, release and drop take the queue's lock, so that none works
 * beside the service; rewind changes storage's database.
 */
import { Command } from 'commander';
import { databaseUrl, duration, endpoint, readConfig } from '../../shared/config.js';
import type { Position } from '../../shared/position.js';
import { parserOf, toPosition, toTarget } from './options.js';
import { describeRemoval, dropQueue, releaseQueue, type Removal } from './release.js';
import { describeReplay, replayQueue } from './replay.js';
import { describeRewind, rewind } from './rewind.js';
import { print, progressOn } from './terminal.js';

const REPLAY_HELP = `
For the queue of an edge that is gone: its volume, mounted or copied anywhere, is sent to a router as the edge itself would have.
The router knows the queue by its id and holds each position once, so running it twice, or after the edge had sent a part, stores
nothing twice. Do not let the edge run on another copy meanwhile.

What the router has acked is released here at the end (with --keep: nothing is written to DIR); the bytes stay until an edge
opens the queue or it is dropped. Batches that fail their checksum are not sent, but set aside in DIR/quarantine, and named.

Exit code 1: not all of it is held by the router: the router took nothing for --timeout, refused (another shard), batches are
damaged, or a later copy of this queue was sent before. Run it again to go on.

Examples:
  holdfast queue replay /mnt/rescued/edge --to tcp://router:7310
  holdfast queue replay /mnt/rescued/edge --to tcp://router-2:7310 --shard 2 --keep --json`;

export function replayCommand(): Command {
  return new Command('replay')
    .description("sends a dead edge's queue into a running router; safe to run twice")
    .argument('<dir>', "the queue's directory")
    .requiredOption('--to <endpoint>', "the router's intake", parserOf(endpoint('--to', '', '')))
    .option('--shard <shard>', 'the shard that the router serves', '0')
    .option('--keep', 'release nothing: DIR stays as it is')
    .option(
      '--timeout <time>',
      'give up when the router takes nothing for so long',
      parserOf(duration('--timeout', '', 1, 30 * 86_400_000, '')),
      60_000,
    )
    .option('--json', 'as JSON')
    .addHelpText('after', REPLAY_HELP)
    .action(replay);
}

interface ReplayFlags {
  readonly to: string;
  readonly shard: string;
  readonly keep?: boolean;
  readonly timeout: number;
  readonly json?: boolean;
}

async function replay(directory: string, { to, shard, keep, timeout, json }: ReplayFlags): Promise<void> {
  const result = await replayQueue({
    path: directory,
    router: to,
    shard,
    keep: keep === true,
    timeoutMs: timeout,
    makeProgress: progressOn(process.stderr, 'sent'),
  });
  print(json, result, describeReplay);
  if (result.older || result.damaged.length > 0) process.exitCode = 1;
}

const RELEASE_HELP = `
Batches through the position are marked as needed no more, as if the next hop had acked them: their records are given up where
nobody has them. Without --yes it says what would be given up, changes nothing and exits with 1.

Examples:
  holdfast queue release ./data/edge --through 1732112345678:4711
  holdfast queue release ./data/edge --through 1732112345678:4711 --yes`;

export function releaseCommand(): Command {
  return new Command('release')
    .description('gives up the batches of a queue through a position; only with --yes')
    .argument('<dir>', "the queue's directory")
    .requiredOption('--through <position>', 'epoch:offset', toPosition)
    .option('--yes', 'do it')
    .option('--json', 'as JSON')
    .addHelpText('after', RELEASE_HELP)
    .action(async (directory: string, flags: { through: Position; yes?: boolean; json?: boolean }) => {
      report(await releaseQueue(directory, flags.through, flags.yes === true), flags.json);
    });
}

const DROP_HELP = `
The files of the queue are removed, and the directory where nothing else is in it. The next service that starts on it begins an
empty queue with a new id. Without --yes it says what would be lost, changes nothing and exits with 1.

Examples:
  holdfast queue drop /mnt/rescued/edge
  holdfast queue drop /mnt/rescued/edge --yes`;

export function dropCommand(): Command {
  return new Command('drop')
    .description('removes a queue; only with --yes')
    .argument('<dir>', "the queue's directory")
    .option('--yes', 'do it')
    .option('--json', 'as JSON')
    .addHelpText('after', DROP_HELP)
    .action(async (directory: string, { yes, json }: { yes?: boolean; json?: boolean }) => {
      report(await dropQueue(directory, yes === true), json);
    });
}

const REWIND_HELP = `
Has storage read again what the router still holds (ROUTER_RETAIN on the router, behind what every consumer has acked). Storage
goes by its own position, in consumer_positions of its database, which this sets back; rows have a key, so that nothing is
stored twice. Stop storage first; the router must run. A time is that of the commit at the router.

Refused, with nothing changed and exit code 1: storage is connected to the database; the position is not behind storage's own;
batches after it are not there any more (--partial: read those that are).

Only storage can be rewound. Shadow's position is part of its store and moves only with its documents, which hold already what
was applied; reading it again would change nothing. A shadow that is started with an empty store reads all that the router
holds, but desired states and commands are not in there.

Environment:
  STORAGE_URL           the database (--database)
  STORAGE_ROUTER_FETCH  the router's consumer endpoint (--router)

Examples:
  holdfast queue rewind storage --to 2026-11-20T08:00:00Z
  holdfast queue rewind storage --to 1732112345678:4711 --router tcp://router:7312 --json`;

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

export function rewindCommand(): Command {
  return new Command('rewind')
    .description('has storage read again what the router still holds')
    .argument('<consumer>', 'storage')
    .requiredOption('--to <position|time>', 'epoch:offset, after which it reads on, or an ISO time', toTarget)
    .option('--router <endpoint>', "the router's consumer endpoint", parserOf(rewindFields.router))
    .option('--database <url>', "storage's database", parserOf(rewindFields.database))
    .option('--partial', 'also where batches after the position are gone')
    .option('--json', 'as JSON')
    .addHelpText('after', REWIND_HELP)
    .action(async (consumer: string, { to, router, database, partial, json }: RewindFlags) => {
      const config = readConfig('REWIND', rewindFields);
      const result = await rewind({
        consumer,
        to,
        router: router ?? config.router,
        database: database ?? config.database,
        partial: partial === true,
      });
      print(json, result, describeRewind);
    });
}

function report(removal: Removal, json: boolean | undefined): void {
  print(json, removal, describeRemoval);
  if (!removal.done) process.exitCode = 1;
}
