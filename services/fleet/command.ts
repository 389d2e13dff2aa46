/** `holdfast fleet`: its options, and what its exit code says. */
import { Command } from 'commander';
import { describeFields } from '../../shared/config.js';
import { burstCommand } from './burst-command.js';
import { PROTOCOLS } from './connection.js';
import { DEFAULT_EDGES } from './edge-address.js';
import {
  addFleetOptions,
  fleetFields,
  numbers,
  parsed,
  readFleetOptions,
  verifyUrl,
  type FleetFlags,
} from './options.js';
import { parseScript } from './script.js';

const HELP = `
Devices behave as firmware does: they keep what is not acked, come back with a random and growing wait, stay away as long as
the edge asks them to, and send again what was not acked, many records a frame.

On a terminal it takes commands, one a line; a script has the same, each with its time from the start:
  offline   the network goes: every connection is cut, records are kept
  online    the network is back: every device connects again within a second or so
  status    a line of numbers
  quit      no more records; waits at most a minute for what is unacked, then ends

--verify looks for every acked record in table telemetry, waits for storage to have them all, and names what is lost or there
twice. Device ids are fleet-<run>-<number>, with a run of its own each time.

--protocol chooses the way into the edge. MQTT is version 5, several records a publish, each PUBACK an ack. A device with HTTP has one
connection and one request under way. One with UDP sends again what is not acked, with growing pauses; it has no connection, so
it is up while it may send, also where no edge is there.

Exit codes: 0 done; 1 a record was lost or is there twice, or the fleet could not go on; 78 an option is wrong.

Environment:
${describeFields(fleetFields)}

Examples:
  holdfast fleet --devices 1000 --duration 1m
  holdfast fleet --devices 10000 --interval 1s --size 200 --ramp 30s --edge wss://edge.example
  holdfast fleet --devices 1000 --script "30s offline; 90s online; 150s quit" --verify postgres://holdfast@127.0.0.1:7332/holdfast
  holdfast fleet --protocol mqtt --edge mqtt://edge.example:1883
  holdfast fleet burst --report ./burst`;

interface Flags extends FleetFlags {
  readonly duration?: string;
  readonly script?: string;
  readonly verify?: string | true;
  readonly verifyWait: string;
}

/** The command, to be added to the program. */
export function fleetCommand(): Command {
  const command = new Command('fleet')
    // Its options stand before the subcommand; after it they are the subcommand's own.
    .enablePositionalOptions()
    .description('simulates a fleet of devices against an edge, and checks that nothing acked is lost or stored twice')
    .option('--edge <url>', `the edge (default: ${edges()})`);
  return addFleetOptions(command, 1_000)
    .option('--duration <time>', `how long records are made (default: until it is told to quit)`)
    .option('--script <steps>', 'as "30s offline; 90s online; 150s quit"')
    .option('--verify [url]', 'look for every acked record in this database')
    .option('--verify-wait <time>', 'how long storage may take to have them all', numbers.verifyWait.fallback)
    .option('--json', 'end with JSON instead of a table')
    .addHelpText('after', HELP)
    .action(fleet)
    .addCommand(burstCommand());
}

async function fleet(flags: Flags): Promise<void> {
  const options = {
    ...readFleetOptions(flags, flags.edge),
    durationMs: flags.duration === undefined ? undefined : parsed(numbers.duration, flags.duration),
    script: parseScript(flags.script ?? ''),
    databaseUrl: verifyUrl(flags.verify),
    verifyWaitMs: parsed(numbers.verifyWait, flags.verifyWait),
  };
  // Only here: every service would load it too.
  const { runFleet } = await import('./run.js');
  const { describeResult } = await import('./status.js');
  const result = await runFleet(options);
  process.stdout.write(flags.json === true ? `${JSON.stringify(result, null, 2)}\n` : describeResult(result));
  const { verification } = result;
  if (verification !== undefined && verification.lost + verification.twice > 0) process.exitCode = 1;
}

/** Each address once. */
function edges(): string {
  return [...new Set(PROTOCOLS.map((protocol) => DEFAULT_EDGES[protocol]))].join(', ');
}
