/**
 * `npm run bench [-- part …] [--rounds n] [--seconds n] [--profile]`: measures, prints, and writes bench/results/.
 *
 * Parts run one after another. A part that fails is told and recorded, and the others go on; the exit code is 1 then. A
 * target that is missed is a result, not a failure. Whatever ends the bench, its processes and its directory go with it.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { messageOf } from '../shared/errors.js';
import { packagePath } from '../shared/paths.js';
import { BenchContext, resultsDirectory, type BenchOptions } from './context.js';
import { benchDisk } from './disk.js';
import { benchEdge } from './edge.js';
import { benchHops } from './hops.js';
import { benchIdle } from './idle.js';
import { benchLatency } from './latency.js';
import { benchLive } from './live.js';
import { describeMachine } from './machine.js';
import { benchPipeline } from './pipeline.js';
import { benchProfile } from './profile.js';
import { benchQueue } from './queue.js';
import { killAll, stopAll } from './processes.js';
import { benchPeers } from './peers.js';
import { renderPart, renderRun, type Chart, type PartFailure, type PartResult, type RunResult } from './results.js';
import { benchScaling } from './scaling.js';
import { benchShadow } from './shadow.js';
import { benchShapes } from './shapes.js';
import { benchStorage } from './storage.js';
import { benchWays } from './ways.js';

interface Part {
  readonly run: (context: BenchContext) => Promise<PartResult>;
  /** Unless --rounds says otherwise. */
  readonly rounds: number;
}

const PARTS: Readonly<Record<string, Part>> = {
  disk: { run: benchDisk, rounds: 3 },
  queue: { run: benchQueue, rounds: 2 },
  edge: { run: benchEdge, rounds: 3 },
  peers: { run: benchPeers, rounds: 2 },
  ways: { run: benchWays, rounds: 1 },
  shapes: { run: benchShapes, rounds: 1 },
  scaling: { run: benchScaling, rounds: 2 },
  pipeline: { run: benchPipeline, rounds: 2 },
  hops: { run: benchHops, rounds: 1 },
  storage: { run: benchStorage, rounds: 2 },
  latency: { run: benchLatency, rounds: 3 },
  idle: { run: benchIdle, rounds: 1 },
  live: { run: benchLive, rounds: 2 },
  shadow: { run: benchShadow, rounds: 1 },
  profile: { run: benchProfile, rounds: 1 },
};
/** Only for those who name it: it needs perf, and measures nothing that the others do not. */
const NAMED_ONLY: readonly string[] = ['profile'];

const HELP = `npm run bench [-- part … options]

  parts: ${Object.keys(PARTS).join(' ')}; none: all of them but profile

  --rounds n     repetitions of every side (1 to 3, as the part has it)
  --seconds n    the measured window of a repetition (4)
  --warm-up n    seconds of load before it (1)
  --profile      the services write CPU profiles into bench/results/profiles
  --directory d  where queues and databases go while it runs: on the disk to be measured (./data)

  npm run bench -- edge latency --seconds 10
`;

interface Arguments extends Omit<BenchOptions, 'rounds'> {
  /** undefined: each part has its own. */
  readonly rounds: number | undefined;
  readonly parts: readonly string[];
  readonly directory: string;
}

/** @throws Error that says which argument is wrong */
function readArguments(): Arguments | undefined {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      rounds: { type: 'string' },
      seconds: { type: 'string', default: '4' },
      'warm-up': { type: 'string', default: '1' },
      directory: { type: 'string', default: packagePath('data') },
      profile: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) return undefined;
  const unknown = positionals.filter((part) => !(part in PARTS));
  if (unknown.length > 0)
    throw new Error(`no such part: ${unknown.join(', ')}; there are ${Object.keys(PARTS).join(', ')}`);
  return {
    parts: positionals.length > 0 ? positionals : Object.keys(PARTS).filter((part) => !NAMED_ONLY.includes(part)),
    rounds: values.rounds === undefined ? undefined : positive('--rounds', values.rounds),
    seconds: positive('--seconds', values.seconds),
    warmupSeconds: positive('--warm-up', values['warm-up']),
    profile: values.profile,
    directory: values.directory,
  };
}

function positive(name: string, text: string): number {
  const value = Number(text);
  if (!(value > 0)) throw new Error(`${name} ${text} is not a number over 0`);
  return value;
}

async function runPart(name: string, context: BenchContext): Promise<PartResult | PartFailure> {
  console.log(`\n-- ${name}`);
  try {
    return await PARTS[name]!.run(context);
  } catch (error) {
    return { part: name, error: error instanceof Error ? (error.stack ?? error.message) : String(error) };
  } finally {
    await stopAll();
  }
}

function writeResults(run: RunResult): string {
  const directory = resultsDirectory();
  mkdirSync(directory, { recursive: true });
  const name = run.startedAt.replaceAll(':', '-');
  const file = join(directory, name);
  const chartFile = (part: PartResult, chart: Chart): string => `${name}-${part.part}-${chart.name}.svg`;
  writeFileSync(`${file}.json`, `${JSON.stringify(withoutCharts(run), null, 2)}\n`);
  writeFileSync(`${file}.md`, renderRun(run, chartFile));
  for (const part of run.parts) {
    if ('error' in part) continue;
    for (const chart of part.charts ?? []) writeFileSync(join(directory, chartFile(part, chart)), chart.svg);
  }
  return file;
}

/** Pictures are no data. */
function withoutCharts(run: RunResult): RunResult {
  const parts = run.parts.map((part) => ('error' in part ? part : { ...part, charts: [] }));
  return { ...run, parts };
}

async function main(): Promise<number> {
  const given = readArguments();
  if (given === undefined) {
    console.log(HELP);
    return 0;
  }
  const context = new BenchContext({ ...given, rounds: 1 }, given.directory);
  process.on('exit', () => {
    killAll();
    context.clear();
  });
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => process.exit(130));
  const startedAt = new Date().toISOString().slice(0, 19);
  const machine = await describeMachine(context.directory);
  const parts: (PartResult | PartFailure)[] = [];
  for (const name of given.parts) {
    context.setRounds(given.rounds ?? PARTS[name]!.rounds);
    const result = await runPart(name, context);
    parts.push(result);
    console.log(`\n${renderPart(result)}`);
  }
  const file = writeResults({ startedAt, tookSeconds: performance.now() / 1000, machine, parts });
  console.log(`written: ${file}.md and .json`);
  return parts.some((part) => 'error' in part) ? 1 : 0;
}

main().then(
  (code) => process.exit(code),
  (error: unknown) => {
    process.stderr.write(`${messageOf(error)}\n`);
    process.exit(1);
  },
);
