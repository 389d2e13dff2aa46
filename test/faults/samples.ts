/**
 * Samples of what must not grow, and how fast it does: memory, file descriptors, files, latency.
 *
 * A slope alone says nothing: V8's pages rise by tens of megabytes for minutes and fall at its next great collection. So samples
 * are gathered into blocks, the slope is that of the blocks, and it comes with the half of its 95 % interval. That is widened
 * where one block says something about the next (as of a first-order autoregression), which would make it look surer than it is.
 * What rises and falls by more than a leak is looked at by its least in a block: a leak lifts that, and garbage does not.
 */
import { readdirSync, readFileSync, statSync } from 'node:fs';

/** How the samples of a block become one. */
export type Reduction = 'mean' | 'least';

/** Blocks of what is looked at, and Student's t for 95 % and two degrees of freedom less. Least ones are longer. */
const BLOCKS: Readonly<Record<Reduction, { readonly count: number; readonly studentT: number }>> = {
  mean: { count: 20, studentT: 2.101 },
  least: { count: 6, studentT: 2.776 },
};

export interface Point {
  readonly atMs: number;
  readonly value: number;
}

export interface Slope {
  readonly perHour: number;
  /** Half of its 95 % interval; NaN where there are too few points for one. */
  readonly error: number;
}

/** Values over time, of one name. */
export class Series {
  readonly #points: Point[] = [];

  constructor(
    readonly name: string,
    private readonly reduction: Reduction = 'mean',
  ) {}

  get points(): readonly Point[] {
    return this.#points;
  }

  /** A value that is no number, as of a process that is away, is passed over. */
  add(atMs: number, value: number): void {
    if (Number.isFinite(value)) this.#points.push({ atMs, value });
  }

  /** Of what was sampled after `fromMs`. */
  slopeSince(fromMs: number): Slope {
    const recent = this.#points.filter(({ atMs }) => atMs >= fromMs);
    return slopeOf(blocksOf(recent, this.reduction), BLOCKS[this.reduction].studentT);
  }

  /** A row of a table: name, the first tenth's mean, the most, the last tenth's mean, and the slope since `fromMs`, 1/h. */
  rowSince(fromMs: number): string {
    const tenth = Math.max(1, Math.floor(this.#points.length / 10));
    const first = meanOf(this.#points.slice(0, tenth));
    const last = meanOf(this.#points.slice(-tenth));
    const most = this.#points.reduce((greatest, { value }) => Math.max(greatest, value), -Infinity);
    const { perHour, error } = this.slopeSince(fromMs);
    const slope = Number.isNaN(error) ? '–' : `${perHour.toFixed(1)} ± ${error.toFixed(1)}`;
    return `| ${this.name} | ${first.toFixed(1)} | ${most.toFixed(1)} | ${last.toFixed(1)} | ${slope} |`;
  }
}

function meanOf(points: readonly Point[]): number {
  return points.reduce((sum, { value }) => sum + value, 0) / Math.max(1, points.length);
}

/** Of as many points each; where there are too few for that, none. */
function blocksOf(points: readonly Point[], reduction: Reduction): Point[] {
  const { count } = BLOCKS[reduction];
  const size = Math.floor(points.length / count);
  if (size === 0) return [];
  const recent = points.slice(-size * count);
  return Array.from({ length: count }, (_, block) => {
    const own = recent.slice(block * size, (block + 1) * size);
    const value = reduction === 'mean' ? meanOf(own) : Math.min(...own.map((point) => point.value));
    return { atMs: own.reduce((sum, { atMs }) => sum + atMs, 0) / size, value };
  });
}

/** Least squares, by hour. */
function slopeOf(points: readonly Point[], studentT: number): Slope {
  const meanHours = points.reduce((sum, { atMs }) => sum + hoursOf(atMs), 0) / points.length;
  const mean = meanOf(points);
  let above = 0;
  let below = 0;
  for (const { atMs, value } of points) {
    above += (hoursOf(atMs) - meanHours) * (value - mean);
    below += (hoursOf(atMs) - meanHours) ** 2;
  }
  const perHour = above / below;
  const rests = points.map(({ atMs, value }) => value - mean - perHour * (hoursOf(atMs) - meanHours));
  const squares = rests.reduce((sum, rest) => sum + rest ** 2, 0);
  const error = studentT * Math.sqrt(squares / (points.length - 2) / below) * wideningOf(rests, squares);
  return { perHour, error };
}

/** By how much neighbours that are alike make an interval too narrow: the root of (1 + r) / (1 - r). */
function wideningOf(rests: readonly number[], squares: number): number {
  if (squares === 0) return 1;
  const products = rests.slice(1).reduce((sum, rest, index) => sum + rest * rests[index]!, 0);
  const alike = Math.min(0.9, Math.max(0, products / squares));
  return Math.sqrt((1 + alike) / (1 - alike));
}

function hoursOf(ms: number): number {
  return ms / 3_600_000;
}

export interface Memory {
  /** What the process has made: the heaps of V8 and of malloc, stacks. A leak is here. */
  readonly anonymous: number;
  /** Pages of files that it has mapped, above all its queue: page cache, which the kernel takes back when it wants room. */
  readonly files: number;
}

/** Resident memory of a process, MiB; NaN where it is gone. Linux. */
export function memoryOf(pid: number): Memory {
  const status = readIfThere(`/proc/${pid}/status`);
  const of = (name: string): number => Number(new RegExp(`^${name}:\\s+(\\d+)`, 'm').exec(status)?.[1]) / 1024;
  return { anonymous: of('RssAnon'), files: of('RssFile') };
}

/** Open file descriptors of a process; NaN where it is gone. Linux. */
export function descriptorsOf(pid: number): number {
  try {
    return readdirSync(`/proc/${pid}/fd`).length;
  } catch {
    return Number.NaN;
  }
}

/** The size of a file, MiB. */
export function fileSizeOf(path: string): number {
  return statSync(path).size / 2 ** 20;
}

function readIfThere(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}
