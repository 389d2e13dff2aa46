/** Samples of what must not grow, and how fast it does: resident memory, file descriptors, files, latency. */
import { readdirSync, readFileSync, statSync } from 'node:fs';

/** Values over time, of one name. */
export class Series {
  readonly #points: { readonly atMs: number; readonly value: number }[] = [];

  constructor(readonly name: string) {}

  add(atMs: number, value: number): void {
    if (Number.isFinite(value)) this.#points.push({ atMs, value });
  }

  /** A row of a table: name, the first, the middle and the last tenth's mean, and the slope of the second half, 1/h. */
  get row(): string {
    const tenth = Math.max(1, Math.floor(this.#points.length / 10));
    const half = this.#points.slice(Math.floor(this.#points.length / 2));
    const first = meanOf(this.#points.slice(0, tenth));
    const last = meanOf(this.#points.slice(-tenth));
    const most = Math.max(...this.#points.map(({ value }) => value));
    return `| ${this.name} | ${first.toFixed(1)} | ${most.toFixed(1)} | ${last.toFixed(1)} | ${slopeOf(half).toFixed(1)} |`;
  }
}

function meanOf(points: readonly { readonly value: number }[]): number {
  return points.reduce((sum, { value }) => sum + value, 0) / Math.max(1, points.length);
}

/** Least squares, by hour. */
function slopeOf(points: readonly { readonly atMs: number; readonly value: number }[]): number {
  const meanHours = points.reduce((sum, { atMs }) => sum + hoursOf(atMs), 0) / Math.max(1, points.length);
  const mean = meanOf(points);
  let above = 0;
  let below = 0;
  for (const { atMs, value } of points) {
    above += (hoursOf(atMs) - meanHours) * (value - mean);
    below += (hoursOf(atMs) - meanHours) ** 2;
  }
  return below === 0 ? 0 : above / below;
}

function hoursOf(ms: number): number {
  return ms / 3_600_000;
}

/** Resident memory of a process, MiB; NaN where it is gone. Linux. */
export function memoryOf(pid: number): number {
  try {
    const [, kibibytes] = /^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8')) ?? [];
    return Number(kibibytes) / 1024;
  } catch {
    return Number.NaN;
  }
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
