/**
 * Power loss: a queue's writer is traced under load, what its file may have been at any moment is rebuilt (disk-model.ts),
 * and each of these files is opened as a queue. Everything acked before that moment must be there, intact.
 */
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { packagePath } from '../../shared/paths.js';
import { Queue } from '../../shared/queue/queue.js';
import { queueOptions } from '../support/batches.js';
import { until } from '../support/processes.js';
import type { Opened } from '../support/queue-opener.js';
import { isTraceWhole, readTrace, straceLauncher, type SystemCall } from '../support/strace.js';
import { imageOf, momentsOf, type Moment, type PageWrite } from './disk-model.js';
import { randomFrom } from './random.js';

export interface PowerLoss {
  /** Appends that the writer makes. */
  readonly appends: number;
  /** Images to open at most: half of them prefixes of what was written, half subsets of it. */
  readonly images: number;
  readonly seed: number;
  /** For a test of this test: the disk takes no notice of fdatasync. */
  readonly ignoresSyncs?: boolean;
}

export interface PowerLossResult {
  /** Images that were opened. */
  readonly images: number;
  /** Moments of the trace from which they come. */
  readonly moments: number;
  /** What was wrong, one line an image. */
  readonly problems: readonly string[];
}

const CALLS = 'openat,close,lseek,pwrite64,pwritev,writev,ftruncate,fdatasync,fsync,msync,write';
const WRITER = packagePath('dist', 'test', 'support', 'queue-writer.js');
const OPENER = packagePath('dist', 'test', 'support', 'queue-opener.js');
const OPENED_AT_ONCE = 40;
/** With `cycle` the writer releases what is more than 40 batches old; each batch has two records. */
const KEPT_RECORDS = 78;

interface Image {
  readonly name: string;
  readonly writes: readonly PageWrite[];
  readonly acked: number;
}

export async function losePower(options: PowerLoss): Promise<PowerLossResult> {
  const root = mkdtempSync(join(tmpdir(), 'holdfast-power-'));
  try {
    const queuePath = join(root, 'queue');
    await Queue.open(queuePath, queueOptions()).close();
    const base = join(root, 'base');
    cpSync(queuePath, base, { recursive: true });
    const calls = await traceWriter(queuePath, join(root, 'trace'), options.appends);
    const moments = [...momentsOf(calls, { file: '/data.mdb', ackOf, ignoresSyncs: options.ignoresSyncs === true })];
    const images = chooseImages(moments, options);
    const problems: string[] = [];
    while (images.length > 0) problems.push(...(await openImages(root, base, images.splice(0, OPENED_AT_ONCE))));
    return { images: Math.min(options.images, 2 * moments.length), moments: moments.length, problems };
  } finally {
    rmSync(root, { recursive: true, force: true });
  }
}

/** A line is `epoch:offset first last`. */
function ackOf(line: string): number {
  return Number(line.split(' ')[2] ?? 0);
}

async function traceWriter(queuePath: string, trace: string, appends: number): Promise<SystemCall[]> {
  const words = [...straceLauncher(trace, CALLS), process.execPath, WRITER, queuePath, 'cycle'];
  const child = spawn(words[0]!, words.slice(1), { stdio: ['ignore', 'pipe', 'inherit'] });
  const ended = once(child, 'exit');
  let lines = 0;
  child.stdout.on('data', (chunk: Buffer) => (lines += chunk.toString().split('\n').length - 1));
  await until(() => lines >= appends);
  child.kill('SIGKILL');
  await ended;
  await until(() => isTraceWhole(trace, child.pid!));
  return readTrace(trace).filter(({ result }) => !Number.isNaN(result));
}

/** Some moments, each with some of what was pending: the first writes, or any of its pages. */
function chooseImages(moments: readonly Moment[], { images, seed }: PowerLoss): Image[] {
  const random = randomFrom(seed);
  const pick = (below: number): number => Math.floor(random() * below);
  return Array.from({ length: Math.min(images, 2 * moments.length) }, (_, index) => {
    const at = pick(moments.length);
    const { durable, pending, acked } = moments[at]!;
    const isPrefix = index % 2 === 0;
    const kept = isPrefix ? pending.slice(0, pick(pending.length + 1)) : pending.filter(() => random() < 0.5);
    const name = `moment ${at}, ${kept.length} of ${pending.length} pages ${isPrefix ? 'in order' : 'at random'}`;
    return { name, writes: [...durable, ...kept], acked };
  });
}

async function openImages(root: string, base: string, images: readonly Image[]): Promise<string[]> {
  const before = readFileSync(join(base, 'data.mdb'));
  const paths = images.map((image, index) => {
    const path = join(root, `image-${index}`);
    rmSync(path, { recursive: true, force: true });
    mkdirSync(path);
    cpSync(join(base, 'queue.json'), join(path, 'queue.json'));
    writeFileSync(join(path, 'data.mdb'), imageOf(before, image.writes));
    return path;
  });
  const opened = await openApart(paths);
  return images.flatMap((image, index) => {
    const problem = problemOf(opened.get(paths[index]!), image.acked);
    return problem === undefined ? [] : [`${image.name}: ${problem}`];
  });
}

function problemOf(opened: Opened | undefined, acked: number): string | undefined {
  if (opened === undefined) return 'opening it ended the process';
  if (opened.code !== undefined) return opened.message;
  const { seqs, quarantined } = opened;
  const [first = 0, last = 0] = [seqs[0], seqs.at(-1)];
  if (quarantined > 0) return `${quarantined} batches were damaged`;
  if (last < acked) return `it ends with ${last}, and ${acked} was acked`;
  if (seqs.some((seq, index) => seq !== first + index)) return 'it has a gap';
  if (first > 1 && seqs.length < KEPT_RECORDS) return `it holds ${first} to ${last} alone`;
  return undefined;
}

/** Opens directories in a process of their own, which damage may end. */
export async function openApart(paths: readonly string[]): Promise<Map<string, Opened>> {
  const output = await new Promise<string>((resolve) => {
    execFile(process.execPath, [OPENER, ...paths], { maxBuffer: 2 ** 28 }, (error, stdout, stderr) => {
      resolve(error === null ? stdout : `${stdout}\n${stderr}`);
    });
  });
  const lines = output.split('\n').filter((line) => line.startsWith('{"path"'));
  return new Map(lines.map((line) => JSON.parse(line) as Opened).map((opened) => [opened.path, opened]));
}
