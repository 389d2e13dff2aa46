/** The commands of `holdfast queue` that show records: tail and export. They only read, also beside a running service. */
import { Command, InvalidArgumentError, Option } from 'commander';
import { readConfig, secret } from '../../shared/config.js';
import { HoldfastError } from '../../shared/errors.js';
import { formatPosition, type Position } from '../../shared/position.js';
import { FORMATS, toPosition, type Format } from './options.js';
import { endWithReader, print, progressOn, untilInterrupted, writeTo } from './terminal.js';

const LINE_HELP = `
A record is one line of JSON:
  {"position":"epoch:offset","device":"press-1","kind":"telemetry","seq":1,"time":T,"received":T,"data":{…}}
position: of its batch; kind: telemetry, report, result, or the edge's own online and offline; times in ms since 1970. Data that
is no JSON is "base64" in place of "data".`;

const TAIL_HELP = `${LINE_HELP}
With --live the lines are the live service's messages, with type and site, and come as records pass; it ends after --limit
records where that is given.

Environment:
  TAIL_TOKEN  the live service's token, where it asks for one

Exit code 1: there is no whole queue, some batches fail their checksum (they are named and passed over), or the live service
cannot be reached.

Examples:
  holdfast queue tail ./data/edge
  holdfast queue tail ./data/router --device engine-7 --limit 100 --follow
  holdfast queue tail --live ws://127.0.0.1:7340/v1/live --device engine-7`;

const DEFAULT_LIMIT = 10;

export const tailFields = { token: secret('TAIL_TOKEN', "the live service's token") } as const;

interface TailFlags {
  readonly live?: string;
  readonly device?: string;
  readonly follow?: boolean;
  readonly limit?: number;
}

export function tailCommand(): Command {
  return new Command('tail')
    .description('the newest records of a queue, or the records that pass, as NDJSON')
    .argument('[dir]', "the queue's directory")
    .option('--live <url>', 'from the live service instead, as ws://live:7340/v1/live')
    .option('--device <id>', 'only the records of this device')
    .option('--follow', 'go on with what is appended, until interrupted')
    .option('--limit <n>', `how many of those that are there (default: ${DEFAULT_LIMIT})`, toCount)
    .addHelpText('after', TAIL_HELP)
    .action(tail);
}

async function tail(directory: string | undefined, flags: TailFlags): Promise<void> {
  const { live, device, follow, limit } = flags;
  if ((directory === undefined) === (live === undefined)) {
    throw new HoldfastError('bad_config', 'name either the directory of a queue or --live <url>', false);
  }
  endWithReader(process.stdout);
  const signal = untilInterrupted();
  const write = (text: string): Promise<void> => writeTo(process.stdout, text);
  if (live !== undefined) {
    const { tailLive } = await import('./live-tail.js');
    const { token } = readConfig('TAIL', tailFields);
    const onNotice = (text: string): void => void process.stderr.write(`${text}\n`);
    await tailLive({ url: live, token, device, limit: limit ?? Infinity, signal, write, onNotice });
    return;
  }
  const { tailQueue } = await import('./tail.js');
  await tailQueue({
    path: directory!,
    device,
    limit: limit ?? DEFAULT_LIMIT,
    follow: follow === true,
    signal,
    write,
    onDamaged: (position) => {
      process.stderr.write(`passed over: ${formatPosition(position)}, its checksum does not match its bytes\n`);
      process.exitCode = 1;
    },
  });
}

const EXPORT_HELP = `${LINE_HELP}
--format batches: 8 bytes "HFBATCH1", 16 bytes id of the queue, then for each batch a u32 size (little-endian) and the batch as
DESIGN.md, "Batch format", has it.

Released batches that are still there are exported too. A file is made anew and synced; one that is there is not written over.
Exit code 1: there is no whole queue, the file cannot be made, or batches fail their checksum: they are named and left out.

Examples:
  holdfast queue export /mnt/rescued/edge > records.ndjson
  holdfast queue export ./data/router --device engine-7 --after 1732112345678:4711
  holdfast queue export /mnt/rescued/edge --format batches --out edge.batches --json`;

interface ExportFlags {
  readonly format: Format;
  readonly out?: string;
  readonly device?: string;
  readonly after?: Position;
  readonly json?: boolean;
}

export function exportCommand(): Command {
  return new Command('export')
    .description('everything that lies in a queue, as NDJSON or as a file of batches')
    .argument('<dir>', "the queue's directory")
    .addOption(new Option('--format <name>', 'what is written').choices(FORMATS).default('ndjson'))
    .option('--out <file>', 'where to (default: stdout)')
    .option('--device <id>', 'only the records of this device; ndjson')
    .option('--after <position>', 'only what comes after epoch:offset', toPosition)
    .option('--json', 'the summary as JSON')
    .addHelpText('after', EXPORT_HELP)
    .action(exportAll);
}

async function exportAll(directory: string, { format, out, device, after, json }: ExportFlags): Promise<void> {
  if (format === 'batches' && device !== undefined) {
    throw new HoldfastError('bad_config', 'batches are exported whole: --device needs --format ndjson', false);
  }
  endWithReader(process.stdout);
  const { describeExport, exportQueue } = await import('./export.js');
  const result = await exportQueue({
    path: directory,
    format,
    ...(after === undefined ? {} : { after }),
    device,
    file: out,
    output: process.stdout,
    makeProgress: progressOn(process.stderr, 'exported'),
  });
  // The records have stdout to themselves.
  print(json, result, describeExport, out === undefined ? process.stderr : process.stdout);
  if (result.damaged.length > 0) process.exitCode = 1;
}

function toCount(value: string): number {
  if (!/^\d{1,9}$/.test(value)) throw new InvalidArgumentError('allowed: a whole number');
  return Number(value);
}
