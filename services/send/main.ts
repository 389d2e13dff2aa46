/** `holdfast send`: lines of JSON on stdin become records of one device. */
import { Command, InvalidArgumentError, Option } from 'commander';
import { duration, optional, readConfig, text } from '../../shared/config.js';
import type { DeviceProtocol } from '../../shared/device.js';

export const sendFields = {
  token: optional(text('SEND_TOKEN', undefined, "the device's token; unlike --token it does not show in ps")),
} as const;

interface Options {
  readonly edge: string;
  readonly token?: string;
  readonly protocol: DeviceProtocol;
  readonly timeout?: number;
}

const HELP = `
Every line is a JSON object and becomes one record:
  {"temperature":80.5}                       data of telemetry; its time is now
  {"data":{"temperature":80.5},"time":T}     the same with a time of its own, ms since 1970
  {"report":{"valve":"open"}}                a report of the device's state
  {"result":{"id":"c-1","status":"SUCCEEDED","data":{}}}   the result of a command
An object whose keys are exactly one of data, report and result, and perhaps time, is read as such; every other object is
data itself. To send data that looks like that, wrap it: {"data":{"data":1}}.

Blank lines are passed over. A line that is not a record, or that the edge refuses, is reported with its number and does not
stop the rest. While the edge is away the input is not read on; records are sent again until they are acked. Records have
the seqs 1, 2, 3…: a file whose lines have times is stored once, however often it is sent.

The exit code is 0 only where every line was acked.

Environment:
  SEND_TOKEN  the device's token, where it should not show in ps

Examples:
  echo '{"temperature":80.5}' | holdfast send press-1
  holdfast send press-1 --edge wss://edge.example:443 --timeout 1m < readings.ndjson
  tail -f sensor.log | holdfast send press-1 --protocol binary`;

/** The command, to be added to the program. */
export function sendCommand(): Command {
  return new Command('send')
    .description('sends lines of JSON from stdin as records of a device, and waits until each is acked')
    .argument('<device>', "the device's id")
    .option('--edge <url>', 'the edge', 'ws://127.0.0.1:7300')
    .option('--token <token>', "the device's token, where the edge asks for one")
    .addOption(new Option('--protocol <name>', 'how records travel').choices(['json', 'binary']).default('json'))
    .option('--timeout <time>', 'give up after so long without an ack, as 30s, 5m (default: never)', parseTimeout)
    .addHelpText('after', HELP)
    .action(send);
}

async function send(device: string, options: Options): Promise<void> {
  const { edge, protocol, timeout } = options;
  // Only here: every service would load it too.
  const { sendLines } = await import('./sender.js');
  const counts = await sendLines({
    device,
    edge,
    token: options.token ?? readConfig('SEND', sendFields).token,
    protocol,
    timeoutMs: timeout,
    input: process.stdin,
    output: process.stderr,
    isTerminal: process.stderr.isTTY,
  });
  if (counts.acked < counts.read) process.exitCode = 1;
}

const timeoutField = duration('--timeout', '', 1, 30 * 86_400_000, 'the time without an ack after which to give up');

function parseTimeout(value: string): number {
  const timeoutMs = timeoutField.parse(value);
  if (timeoutMs === undefined) throw new InvalidArgumentError(`allowed: ${timeoutField.allowed}`);
  return timeoutMs;
}
