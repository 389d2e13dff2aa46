/**
 * The long run: `npm run faults -- --minutes 60 [--seed N] [--only CLASS|soak] [--records-per-second R] [--report PATH]`. Without
 * --only the classes share half of the time, and the soak has the other half, at R or else at half of what the pipeline can
 * take, which it learns before. It prints the rows of README.md's tables as they come, writes the soak's report to PATH.md and
 * PATH.json, and ends with 1 where anything was lost, doubled or otherwise found. Told to end, it removes what it has made.
 */
import { parseArgs } from 'node:util';
import { brokenOff, CLASS_MISSING, CLASSES } from './classes.js';
import { rowOf, type Outcome } from './outcome.js';
import { OUTCOME_HEAD, SERIES_HEAD, writeReport } from './soak-report.js';
import { soak } from './soak.js';

const MINUTE_MS = 60_000;
const FAULT_INTERVAL_MS = 20_000;
const CALIBRATE_MS = 60_000;

const { values } = parseArgs({
  options: {
    minutes: { type: 'string', default: '60' },
    seed: { type: 'string' },
    only: { type: 'string' },
    'records-per-second': { type: 'string' },
    report: { type: 'string' },
  },
});
const lengthMs = Number(values.minutes) * MINUTE_MS;
const seed = values.seed === undefined ? Math.floor(Math.random() * 2 ** 31) : Number(values.seed);
const recordsPerSecond = values['records-per-second'] === undefined ? undefined : Number(values['records-per-second']);
const names = values.only === undefined ? [...Object.keys(CLASSES), 'soak'] : [values.only];
const isKnown = names.every((name) => name === 'soak' || name in CLASSES);
const isRate = recordsPerSecond === undefined || recordsPerSecond > 0;
if (!isKnown || !(lengthMs > 0) || !Number.isSafeInteger(seed) || !isRate) {
  const known = Object.keys(CLASSES).join(', ');
  console.error(`--minutes, --seed and --records-per-second are numbers, --only is one of ${known}, soak`);
  process.exit(2);
}

/** What makes this run again, with the seed that it took. */
const rate = recordsPerSecond === undefined ? '' : ` --records-per-second ${recordsPerSecond}`;
const only = values.only === undefined ? '' : ` --only ${values.only}`;
const command = `npm run faults -- --minutes ${values.minutes}${only} --seed ${seed}${rate}`;
const outcomes: Outcome[] = [];

function take(outcome: Outcome): void {
  outcomes.push(outcome);
  console.log(rowOf(outcome));
  for (const line of outcome.lines) console.log(`    ${line}`);
}

async function runClass(name: string, forMs: number): Promise<void> {
  const missing = CLASS_MISSING[name]?.();
  if (missing !== undefined) {
    console.log(`${name}: not tried: ${missing}`);
    return;
  }
  try {
    for await (const outcome of CLASSES[name]!({ seed, deadlineMs: Date.now() + forMs })) take(outcome);
  } catch (error) {
    take(brokenOff(name, error));
  }
}

async function runSoak(forMs: number): Promise<void> {
  const telling = new AbortController();
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => telling.abort());
  try {
    const { signal } = telling;
    const options = { lengthMs: forMs, intervalMs: FAULT_INTERVAL_MS, seed, devices: 50, calibrateMs: CALIBRATE_MS };
    const result = await soak({ ...options, recordsPerSecond, signal }, (line) => console.log(line));
    take(result.outcome);
    for (const row of [SERIES_HEAD, ...result.rows]) console.log(row);
    if (values.report !== undefined) writeReport(values.report, command, result);
  } catch (error) {
    take(brokenOff('soak', error));
    // What was broken off still waits for its next fault.
    if (telling.signal.aborted) process.exit(1);
  }
}

console.log(`seed ${seed}, ${values.minutes} minutes`);
console.log(OUTCOME_HEAD);
for (const name of names) {
  const shareMs = names.length === 1 ? lengthMs : lengthMs / 2 / (name === 'soak' ? 1 : names.length - 1);
  if (name === 'soak') await runSoak(shareMs);
  else await runClass(name, shareMs);
}
process.exitCode = outcomes.some(({ lines }) => lines.length > 0) ? 1 : 0;
