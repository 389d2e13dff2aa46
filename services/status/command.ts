/** `holdfast status`: reads where services are from their own keys, asks them, and prints what they say. */
import { setTimeout as sleep } from 'node:timers/promises';
import { Command, Option } from 'commander';
import { address, describeFields, duration, readConfig, type Address } from '../../shared/config.js';
import { HoldfastError } from '../../shared/errors.js';
import { describeStatus, sampleAll, statusOf, type Status, type Target } from './status.js';

/** The services' own keys, with their defaults, in the order of a record's way. */
export const statusFields = {
  edge: address('EDGE_ADMIN_LISTEN', '127.0.0.1:7309', 'the admin endpoint of the edge'),
  router: address('ROUTER_ADMIN_LISTEN', '127.0.0.1:7319', 'of the router'),
  storage: address('STORAGE_ADMIN_LISTEN', '127.0.0.1:7339', 'of storage'),
  shadow: address('SHADOW_ADMIN_LISTEN', '127.0.0.1:7329', 'of shadow'),
  live: address('LIVE_ADMIN_LISTEN', '127.0.0.1:7349', 'of live'),
} as const;

const SERVICES = Object.keys(statusFields) as (keyof typeof statusFields)[];

const HELP = `
A line a service: ready, waiting (for what) or away (why it does not answer); records a second in and out; the records and bytes
of its queue that the next hop has not acked, with the share of the quota; the age of the oldest; and how many batches a
consumer is behind the router's head. – where a service has no such number. Shadow's out are things written, live's messages to
clients.

Exit code 1: a service is not ready. With --watch it goes on until interrupted, and the exit code is that of the last look.

Environment, what services themselves listen on:
${describeFields(statusFields)}

Examples:
  holdfast status
  holdfast status --watch
  holdfast status --only edge,router --json
  holdfast status --edge edge-0:7309 --edge edge-1:7309 --router router-0:7319`;

interface Flags extends Partial<Record<keyof typeof statusFields, readonly string[]>> {
  readonly only?: string;
  readonly interval: string;
  readonly watch?: boolean;
  readonly json?: boolean;
}

/** The command, to be added to the program. */
export function statusCommand(): Command {
  const command = new Command('status')
    .description('the pipeline at a glance: each hop, its rate, backlog and lag (exit code 1: something is not ready)')
    .option('--watch', 'again and again, until interrupted')
    .option('--json', 'as JSON; with --watch an object a line')
    .option('--only <services>', `of ${SERVICES.join(',')}`)
    .addOption(new Option('--interval <time>', 'between two looks, which rates are of').default('1s'));
  for (const service of SERVICES) {
    command.option(`--${service} <host:port...>`, `admin endpoint of ${service}; several: a line each`);
  }
  return command.addHelpText('after', HELP).action(status);
}

async function status(flags: Flags): Promise<void> {
  const targets = targetsOf(flags);
  const intervalMs = checked(duration('--interval', '', 10, 3_600_000, ''), flags.interval);
  const interrupted = new AbortController();
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => interrupted.abort());
  let before = await sampleAll(targets);
  do {
    await sleep(intervalMs, undefined, { signal: interrupted.signal }).catch(() => undefined);
    if (flags.watch === true && interrupted.signal.aborted) return;
    const now = await sampleAll(targets);
    show(statusOf(targets, before, now), flags);
    before = now;
  } while (flags.watch === true);
}

function show(result: Status, { watch, json }: Flags): void {
  process.exitCode = result.ready ? 0 : 1;
  if (json === true) {
    process.stdout.write(`${JSON.stringify(result, null, watch === true ? undefined : 2)}\n`);
    return;
  }
  // From the top of a terminal, and clear what was below: one table that changes. Elsewhere one table after the other.
  const clear = watch === true && process.stdout.isTTY ? '\x1b[H\x1b[J' : '';
  process.stdout.write(`${clear}${describeStatus(result)}${watch === true ? '\n' : ''}`);
}

function targetsOf(flags: Flags): readonly Target[] {
  const config = readConfig('STATUS', statusFields);
  const only = flags.only?.split(',').map((name) => name.trim());
  const unknown = only?.find((name) => !SERVICES.some((service) => service === name));
  if (unknown !== undefined) {
    throw new HoldfastError('bad_config', `--only ${unknown}: allowed: ${SERVICES.join(', ')}`, false);
  }
  return SERVICES.filter((service) => only === undefined || only.includes(service)).flatMap((service) => {
    const given = flags[service]?.map((value) => checked(address(`--${service}`, '', ''), value));
    return (given ?? [config[service]]).map((where) => ({ service, address: urlHost(where) }));
  });
}

/** What a service listens on as what to connect to: every address of this machine is this machine. */
function urlHost({ host, port }: Address): string {
  const reachable = host === '0.0.0.0' ? '127.0.0.1' : host === '::' ? '::1' : host;
  return `${reachable.includes(':') ? `[${reachable}]` : reachable}:${port}`;
}

function checked<T>(field: { key: string; allowed: string; parse(text: string): T | undefined }, text: string): T {
  const value = field.parse(text);
  if (value === undefined)
    throw new HoldfastError('bad_config', `${field.key} ${text}: allowed: ${field.allowed}`, false);
  return value;
}
