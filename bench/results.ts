/** What a run of the bench found: a table for the terminal, Markdown and JSON for the record. */
import { summarize } from './statistics.js';

/** One thing that was measured, once a round. */
export interface Row {
  /** Who was measured: `edge`, `counting server`, … */
  readonly side: string;
  readonly what: string;
  readonly unit: string;
  /** One number a round, in order. */
  readonly values: readonly number[];
}

/** A number that is asked for. */
export interface Verdict {
  readonly what: string;
  readonly value: number;
  /** `≥ 0.7` */
  readonly target: string;
  readonly met: boolean;
}

export interface PartResult {
  readonly part: string;
  /** What was done, in a sentence or two. */
  readonly method: string;
  readonly settings: Readonly<Record<string, string | number>>;
  readonly rows: readonly Row[];
  readonly verdicts: readonly Verdict[];
  /** What a reader has to know beside the numbers. */
  readonly notes: readonly string[];
  /** Beside the tables; in files of their own. */
  readonly charts?: readonly Chart[];
}

export interface Chart {
  readonly name: string;
  readonly svg: string;
}

/** A part that could not be measured. */
export interface PartFailure {
  readonly part: string;
  readonly error: string;
}

export interface RunResult {
  readonly startedAt: string;
  readonly tookSeconds: number;
  readonly machine: Readonly<Record<string, string | number>>;
  readonly parts: readonly (PartResult | PartFailure)[];
}

/** `value ≥ least`. */
export function atLeast(what: string, value: number, least: number): Verdict {
  return { what, value, target: `≥ ${formatNumber(least)}`, met: value >= least };
}

/** `value ≤ most`. */
export function atMost(what: string, value: number, most: number): Verdict {
  return { what, value, target: `≤ ${formatNumber(most)}`, met: value <= most };
}

/** Collects rows while rounds go by: the first number of a name makes its row. */
export class RowCollector {
  readonly #rows = new Map<string, { side: string; what: string; unit: string; values: number[] }>();

  add(side: string, what: string, unit: string, value: number): void {
    const key = `${side}\n${what}`;
    const row = this.#rows.get(key);
    if (row === undefined) this.#rows.set(key, { side, what, unit, values: [value] });
    else row.values.push(value);
  }

  /** The numbers of one row, by round. */
  values(side: string, what: string): readonly number[] {
    return this.#rows.get(`${side}\n${what}`)?.values ?? [];
  }

  /** Round by round, one row's number over another's: what both sides share on a machine that others use too. */
  ratios(what: string, side: string, beside: string): number[] {
    const divisors = this.values(beside, what);
    return this.values(side, what).map((value, round) => value / (divisors[round] ?? Number.NaN));
  }

  get rows(): readonly Row[] {
    return [...this.#rows.values()];
  }
}

/** Numbers as people read them: three significant digits under 1000, groups of three over it. */
export function formatNumber(value: number): string {
  if (Math.abs(value) >= 1000) return Math.round(value).toLocaleString('en-US');
  if (Number.isInteger(value)) return String(value);
  return value.toPrecision(3);
}

/** One part as the terminal and the Markdown file show it. */
export function renderPart(part: PartResult | PartFailure): string {
  if ('error' in part) return `## ${part.part}\n\nFailed: ${part.error}\n`;
  const settings = Object.entries(part.settings).map(([key, value]) => `${key} ${value}`);
  const rows = part.rows.map((row) => {
    const { median, least, greatest, spread } = summarize(row.values);
    const range = row.values.length === 1 ? '' : `${formatNumber(least)} … ${formatNumber(greatest)}`;
    const percent = row.values.length === 1 ? '' : `${(spread * 100).toFixed(0)} %`;
    return [row.side, row.what, formatNumber(median), row.unit, range, percent];
  });
  const verdicts = part.verdicts.map((verdict) => {
    return [verdict.what, formatNumber(verdict.value), verdict.target, verdict.met ? 'met' : 'MISSED'];
  });
  return [
    `## ${part.part}`,
    part.method,
    `Settings: ${settings.join(' · ')}`,
    table(['side', 'what', 'median', 'unit', 'least … greatest', 'spread'], rows),
    ...(verdicts.length === 0 ? [] : [table(['asked for', 'measured', 'target', ''], verdicts)]),
    ...(part.notes.length === 0 ? [] : [part.notes.map((note) => `- ${note}`).join('\n')]),
    '',
  ].join('\n\n');
}

/**
 * The whole run as a Markdown document.
 * @param chartFile the name of a chart's file, beside that of the document
 */
export function renderRun(run: RunResult, chartFile: (part: PartResult, chart: Chart) => string): string {
  const machine = Object.entries(run.machine).map(([key, value]) => [key, String(value)]);
  return [
    `# Bench of ${run.startedAt}`,
    `It took ${Math.round(run.tookSeconds)} s. What each number means: bench/README.md.`,
    table(['machine', ''], machine),
    ...run.parts.map((part) => {
      const charts =
        'error' in part ? [] : (part.charts ?? []).map((chart) => `![${chart.name}](${chartFile(part, chart)})`);
      return [renderPart(part), ...charts].join('\n');
    }),
  ].join('\n\n');
}

/** A Markdown table whose columns are aligned, so that it reads as well on a terminal. */
function table(heads: readonly string[], rows: readonly (readonly string[])[]): string {
  const widths = heads.map((head, column) => Math.max(3, head.length, ...rows.map((row) => row[column]?.length ?? 0)));
  const line = (cells: readonly string[]): string =>
    `| ${widths.map((width, column) => (cells[column] ?? '').padEnd(width)).join(' | ')} |`;
  return [line(heads), line(widths.map((width) => '-'.repeat(width))), ...rows.map(line)].join('\n');
}
