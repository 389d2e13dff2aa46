/**
 * Samples of what must not grow, and how fast it does: memory, file descriptors, files, latency.
 *
 * A slope alone says nothing: memory of V8 rises and falls by megabytes within a minute. So samples are gathered into
 * blocks, the slope is that of the blocks' means, and it comes with the half of its 95 % interval. Blocks are longer than what
 * rises and falls, so that one says little about the next, which is what the interval takes for granted.
 */
import { readdirSync, readFileSync, statSync } from 'node:fs';

/** Blocks of the half whose slope is taken. */
const BLOCKS = 20;
/** Student's t for 95 % and BLOCKS - 2 degrees of freedom. */
const STUDENT_T = 2.101;

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

  constructor(readonly name: string) {}

  get points(): readonly Point[] {
    return this.#points;
  }

  /** A value that is no number, as of a process that is away, is passed over. */
  add(atMs: number, value: number): void {
    if (Number.isFinite(value)) this.#points.push({ atMs, value });
  }

  /** Of what was sampled after `fromMs`. */
  slopeSince(fromMs: number): Slope {
    return slopeOf(blocksOf(this.#points.filter(({ atMs }) => atMs >= fromMs)));
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

/** Means of as many points each; where they are too few for that, none. */
function blocksOf(points: readonly Point[]): Point[] {
  const size = Math.floor(points.length / BLOCKS);
  if (size === 0) return [];
  const recent = points.slice(-size * BLOCKS);
  return Array.from({ length: BLOCKS }, (_, block) => {
    const own = recent.slice(block * size, (block + 1) * size);
    return { atMs: own.reduce((sum, { atMs }) => sum + atMs, 0) / size, value: meanOf(own) };
  });
}

/** Least squares, by hour. */
function slopeOf(points: readonly Point[]): Slope {
  const meanHours = points.reduce((sum, { atMs }) => sum + hoursOf(atMs), 0) / points.length;
  const mean = meanOf(points);
  let above = 0;
  let below = 0;
  for (const { atMs, value } of points) {
    above += (hoursOf(atMs) - meanHours) * (value - mean);
    below += (hoursOf(atMs) - meanHours) ** 2;
  }
  const perHour = above / below;
  const squares = points.reduce(
    (sum, { atMs, value }) => sum + (value - mean - perHour * (hoursOf(atMs) - meanHours)) ** 2,
    0,
  );
  return { perHour, error: STUDENT_T * Math.sqrt(squares / (points.length - 2) / below) };
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
