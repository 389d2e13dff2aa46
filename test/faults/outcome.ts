/** What became of a fault, as the table of README.md has it. */
import type { Findings } from './history/findings.js';

export interface Outcome {
  readonly fault: string;
  /** How often it was tried. */
  readonly tries: number;
  readonly lost: number;
  readonly doubled: number;
  /** Findings of all other rules. */
  readonly other: number;
  /** From the end of the fault until everything acked has arrived, s; empty: not measured. */
  readonly recoverySeconds: readonly number[];
  /** What was found, first. */
  readonly lines: readonly string[];
}

/** The outcome of a fault that was tried several times, or of one. */
export function outcomeOf(fault: string, found: readonly Findings[], recoverySeconds: readonly number[] = []): Outcome {
  const sum = (of: (findings: Findings) => number): number => found.reduce((total, each) => total + of(each), 0);
  return {
    fault,
    tries: found.length,
    lost: sum((findings) => findings.count('lost')),
    doubled: sum((findings) => findings.count('doubled')),
    other: sum((findings) => findings.broken.filter((rule) => rule !== 'lost' && rule !== 'doubled').length),
    recoverySeconds,
    lines: found.flatMap((findings) => findings.lines),
  };
}

/** A row of the table in Markdown. */
export function rowOf({ fault, tries, lost, doubled, other, recoverySeconds }: Outcome): string {
  const sorted = [...recoverySeconds].sort((a, b) => a - b);
  const most = sorted.at(-1);
  const middle = sorted[Math.floor(sorted.length / 2)];
  const recovery = most === undefined || middle === undefined ? '–' : `${middle.toFixed(1)} / ${most.toFixed(1)}`;
  return `| ${fault} | ${tries} | ${lost} | ${doubled} | ${other} | ${recovery} |`;
}

/** A clock that is started when a fault ends. @returns the seconds since */
export function stopwatch(): () => number {
  const startMs = Date.now();
  return () => (Date.now() - startMs) / 1_000;
}
