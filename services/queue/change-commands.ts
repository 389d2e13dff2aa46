/**
 * The commands of `holdfast queue` that change a queue. Each takes the queue's lock, so that none works beside the service.
 */
import { Command } from 'commander';
import { duration, endpoint } from '../../shared/config.js';
import type { Position } from '../../shared/position.js';
import { parserOf, toPosition } from './options.js';
import type { Removal } from './release.js';
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
  const { describeReplay, replayQueue } = await import('./replay.js');
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
      const { describeRemoval, releaseQueue } = await import('./release.js');
      report(describeRemoval, await releaseQueue(directory, flags.through, flags.yes === true), flags.json);
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
      const { describeRemoval, dropQueue } = await import('./release.js');
      report(describeRemoval, await dropQueue(directory, yes === true), json);
    });
}

function report(describe: (removal: Removal) => string, removal: Removal, json: boolean | undefined): void {
  print(json, removal, describe);
  if (!removal.done) process.exitCode = 1;
}
