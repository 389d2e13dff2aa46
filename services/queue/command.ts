/**
 * `holdfast queue`: the queues of edges and routers in an operator's hand. What only looks stands here and works beside a
 * running service; what changes something stands in change-commands.ts.
 *
 * Every process of `holdfast` knows these commands. What they do their work with (LMDB, ZeroMQ, pg, ws) is loaded when one is
 * run: half of what `holdfast health` would take, which containers run every ten seconds.
 */
import { Command } from 'commander';
import { dropCommand, releaseCommand, replayCommand } from './change-commands.js';
import { rewindCommand, type Rewindable } from './rewind-command.js';
import { exportCommand, tailCommand } from './record-commands.js';
import { print, progressOn } from './terminal.js';

const HELP = `
DIR is the directory of a queue: EDGE_QUEUE of an edge, ROUTER_QUEUE of a router. A position is written epoch:offset.
inspect, verify, tail and export only read, also beside a running service. replay, release and drop want the queue for
themselves: while its service runs they say so and change nothing.

Exit codes: 0 done; 1 not done, not whole, or not allowed without --yes; 78 a key of the environment is wrong.

Examples:
  holdfast queue inspect ./data/edge
  holdfast queue verify /mnt/rescued/edge
  holdfast queue replay /mnt/rescued/edge --to tcp://router:7310`;

/**
 * The command, to be added to the program.
 * @param shadow where its position is kept, which its own room knows
 */
export function queueCommand(shadow: () => Promise<Rewindable>): Command {
  return new Command('queue')
    .description('looks into the queue of an edge or a router, checks it, replays that of a dead one')
    .addHelpText('after', HELP)
    .addCommand(inspectCommand())
    .addCommand(verifyCommand())
    .addCommand(tailCommand())
    .addCommand(exportCommand())
    .addCommand(replayCommand())
    .addCommand(rewindCommand(shadow))
    .addCommand(releaseCommand())
    .addCommand(dropCommand());
}

function inspectCommand(): Command {
  return new Command('inspect')
    .description(
      'depth, positions and bytes of the queue in a directory; checks every checksum (exit code 1: some fail)',
    )
    .argument('<dir>', "the queue's directory")
    .option('--json', 'as JSON')
    .addHelpText(
      'after',
      '\nExamples:\n  holdfast queue inspect ./data/edge\n  holdfast queue inspect ./data/router --json',
    )
    .action(async (directory: string, { json }: { json?: boolean }) => {
      const { describeInspection, inspectQueue } = await import('./inspect.js');
      const inspection = await inspectQueue(directory);
      print(json, inspection, describeInspection);
      if (inspection.damaged.length > 0) process.exitCode = 1;
    });
}

const VERIFY_HELP = `
Every batch is read: its checksum, the sizes of its records, its position, and that none is missing between two others. Where
no service is at work the file's pages are checked too. Nothing is changed.

Prints a line a problem, with its position, and a summary. Exit code 1: there are problems, or it is no queue.

Examples:
  holdfast queue verify ./data/edge
  holdfast queue verify ./data/router --json | jq '.problems[].position'`;

function verifyCommand(): Command {
  return new Command('verify')
    .description('reads every batch and names the positions that fail (exit code 1: some do)')
    .argument('<dir>', "the queue's directory")
    .option('--json', 'as JSON')
    .addHelpText('after', VERIFY_HELP)
    .action(async (directory: string, { json }: { json?: boolean }) => {
      const { describeVerification, verifyQueue } = await import('./verify.js');
      const verification = await verifyQueue(directory, progressOn(process.stderr, 'verified'));
      print(json, verification, describeVerification);
      if (verification.problems.length > 0) process.exitCode = 1;
    });
}
