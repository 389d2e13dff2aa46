/** What a soak leaves behind for a reader: a page of Markdown, and the samples that it was made of, as JSON. */
import { writeFileSync } from 'node:fs';
import { rowOf, type Outcome } from './outcome.js';
import type { Series } from './samples.js';

export const OUTCOME_HEAD =
  '| fault | tried | lost | doubled | other | recovery s, median / most |\n| --- | --- | --- | --- | --- | --- |';
export const SERIES_HEAD =
  '| what | first | most | last | slope of the second half ± its 95 %, 1/h |\n| --- | --- | --- | --- | --- |';

export interface SoakResult {
  readonly outcome: Outcome;
  /** What it did, line by line. */
  readonly story: readonly string[];
  /** Rows of SERIES_HEAD's table. */
  readonly rows: readonly string[];
  readonly series: ReadonlyMap<string, Series>;
}

/** Writes `path`.md and `path`.json. @param command what was run */
export function writeReport(path: string, command: string, { outcome, story, rows, series }: SoakResult): void {
  const found = outcome.lines.length === 0 ? ['Nothing was found.'] : outcome.lines.map((line) => `- ${line}`);
  const parts = [
    `\`${command}\``,
    [OUTCOME_HEAD, rowOf(outcome)].join('\n'),
    found.join('\n'),
    [SERIES_HEAD, ...rows].join('\n'),
    story.map((line) => `- ${line}`).join('\n'),
  ];
  writeFileSync(`${path}.md`, `${parts.join('\n\n')}\n`);
  const points = Object.fromEntries([...series].map(([name, each]) => [name, each.points]));
  writeFileSync(`${path}.json`, `${JSON.stringify({ command, outcome, points })}\n`);
}
