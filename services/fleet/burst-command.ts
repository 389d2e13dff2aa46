/** `holdfast fleet burst`: its options, the pipeline it runs against, and its report. */
import { randomBytes } from 'node:crypto';
import { rm } from 'node:fs/promises';
import { loadavg } from 'node:os';
import { Command } from 'commander';
import { duration, inheritedEnvironment } from '../../shared/config.js';
import { HoldfastError } from '../../shared/errors.js';
import type { PipelineAddresses } from './burst-pipeline.js';
import { addFleetOptions, numbers, parsed, readFleetOptions, verifyUrl, type FleetFlags } from './options.js';

const HELP = `
Normal load, then the network goes and every device keeps what it makes; then it is back, all devices reconnect at once and
send what they kept. Without --edge it starts a pipeline of its own (holdfast up) on free ports and in a directory of its own,
and ends and removes both. Keys of services in the environment reach that pipeline; these have other defaults here:
  EDGE_ACCEPT_RATE                      a fifth of the devices a second, at least the edge's own 2,000
  EDGE_ACCEPT_BURST                     a sixth of that: each device brings what it kept, and an edge that lets in more at once
                                        than it can commit fills EDGE_MEMORY and has to send devices away, which send it again
  EDGE_MEMORY                           128MiB
  EDGE_UDP_DEVICES                      the devices, at least the edge's own 10,000

The report is burst.md, burst.json and burst.svg; every target is said to be met or missed.
Exit codes: 0 done, also where a target of speed is missed; 1 a record was lost or is there twice, or it could not be run.

Examples:
  holdfast fleet burst
  holdfast fleet burst --devices 1000 --report ./reference
  holdfast fleet burst --devices 1000 --protocol mqtt
  EDGE_ACCEPT_RATE=2000 holdfast fleet burst --devices 15000 --outage 60s
  holdfast fleet burst --edge ws://edge:7300 --edge-admin edge:7309 --router-admin router:7319 --storage-admin storage:7339 \\
    --verify postgres://holdfast@db/holdfast`;

interface Flags extends FleetFlags {
  readonly normal: string;
  readonly outage: string;
  readonly recovery: string;
  readonly report: string;
  readonly data: string;
  readonly note?: string;
  readonly edgeAdmin: string;
  readonly routerAdmin: string;
  readonly storageAdmin: string;
  readonly verify?: string | true;
  readonly verifyWait: string;
}

const DAY_MS = 86_400_000;
const FLUSH_TIMEOUT_MS = 300_000;
const times = {
  normal: duration('--normal', '20s', 0, DAY_MS, ''),
  outage: duration('--outage', '60s', 1, DAY_MS, ''),
  recovery: duration('--recovery', '20s', 0, DAY_MS, ''),
} as const;

/** The command, to be added to `holdfast fleet`. */
export function burstCommand(): Command {
  const command = new Command('burst').description('an outage, and what happens when everybody comes back at once');
  return addFleetOptions(command, 15_000)
    .option('--normal <time>', 'normal load before the outage', times.normal.fallback)
    .option('--outage <time>', 'how long the network is away', times.outage.fallback)
    .option('--recovery <time>', 'normal load after the flush', times.recovery.fallback)
    .option('--report <dir>', 'where the report goes', './burst')
    .option('--note <text>', 'what the report is to say of the circumstances')
    .option('--data <dir>', 'where the pipeline of its own keeps its data, in a directory that is removed', './data')
    .option('--edge <url>', 'an edge that runs already, instead of a pipeline of its own')
    .option('--edge-admin <host:port>', 'with --edge', '127.0.0.1:7309')
    .option('--router-admin <host:port>', 'with --edge', '127.0.0.1:7319')
    .option('--storage-admin <host:port>', 'with --edge', '127.0.0.1:7339')
    .option('--verify [url]', 'with --edge: the database that the records reach')
    .option('--verify-wait <time>', 'how long storage may take to have them all', '5m')
    .option('--json', 'end with the findings as JSON')
    .addHelpText('after', HELP)
    .action(burst);
}

async function burst(flags: Flags): Promise<void> {
  const loadBefore = loadavg()[0]!;
  const interrupted = new AbortController();
  const interrupt = (): void => interrupted.abort();
  process.on('SIGINT', interrupt).on('SIGTERM', interrupt);
  try {
    if (flags.edge === undefined) await againstOwn(flags, loadBefore, interrupted.signal);
    else await against(flags, addressesOf(flags, flags.edge), {}, loadBefore, interrupted.signal);
  } finally {
    process.off('SIGINT', interrupt).off('SIGTERM', interrupt);
  }
}

async function againstOwn(flags: Flags, loadBefore: number, signal: AbortSignal): Promise<void> {
  const { BurstPipeline } = await import('./burst-pipeline.js');
  const settings = settingsFor(parsed(numbers.devices, flags.devices));
  const { deviceSecret } = readFleetOptions(flags, undefined);
  const directory = `${flags.data}/burst-${randomBytes(4).toString('hex')}`;
  process.stderr.write(`starting a pipeline in ${directory}\n`);
  try {
    const pipeline = await BurstPipeline.start(directory, flags.protocol, deviceSecret, settings);
    try {
      await against(flags, pipeline.addresses, settings, loadBefore, signal);
    } finally {
      await pipeline.stop();
    }
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

/** What the pipeline is given beside its defaults: the burst's own settings under those of the environment. */
function settingsFor(devices: number): Readonly<Record<string, string>> {
  const rate = Math.max(2_000, Math.ceil(devices / 5));
  const remembered = String(Math.max(10_000, devices));
  const given = Object.entries(inheritedEnvironment()).filter(
    (entry): entry is [string, string] =>
      /^(EDGE|ROUTER|STORAGE|SHADOW|LIVE)_/.test(entry[0]) && !/SECRET|URL|TOKEN/.test(entry[0]),
  );
  return {
    EDGE_ACCEPT_RATE: String(rate),
    EDGE_ACCEPT_BURST: String(Math.ceil(rate / 6)),
    EDGE_MEMORY: '128MiB',
    EDGE_UDP_DEVICES: remembered,
    ...Object.fromEntries(given),
  };
}

function addressesOf({ edgeAdmin, routerAdmin, storageAdmin, verify }: Flags, edge: string): PipelineAddresses {
  const databaseUrl = verifyUrl(verify);
  if (databaseUrl === undefined) {
    throw new HoldfastError('bad_config', '--edge: say with --verify which database its records reach', false);
  }
  return { edge, databaseUrl, edgeAdmin, routerAdmin, storageAdmin };
}

async function against(
  flags: Flags,
  addresses: PipelineAddresses,
  settings: Readonly<Record<string, string>>,
  loadBefore: number,
  signal: AbortSignal,
): Promise<void> {
  const { runBurst } = await import('./burst.js');
  const { findingsOf } = await import('./burst-findings.js');
  const { describeTargets, writeReport } = await import('./burst-report.js');
  const options = {
    fleet: readFleetOptions(flags, addresses.edge),
    addresses,
    normalMs: parsed(times.normal, flags.normal),
    outageMs: parsed(times.outage, flags.outage),
    recoveryMs: parsed(times.recovery, flags.recovery),
    flushTimeoutMs: FLUSH_TIMEOUT_MS,
    verifyWaitMs: parsed(numbers.verifyWait, flags.verifyWait),
    say: (line: string) => process.stderr.write(`${line}\n`),
  };
  const run = await runBurst(options, signal);
  const findings = findingsOf(run);
  const path = await writeReport(flags.report, run, findings, { settings, note: flags.note, loadBefore });
  process.stdout.write(
    flags.json === true ? `${JSON.stringify(findings, null, 2)}\n` : describeTargets(findings.targets),
  );
  process.stderr.write(`the report is ${path}\n`);
  if (run.verification.lost + run.verification.twice > 0) process.exitCode = 1;
}
