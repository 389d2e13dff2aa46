/**
 * The long run: `npm run faults -- --minutes 60 [--seed N] [--only points|power|disks|network|database|soak]`. Without --only
 * the classes share half of the time, and the soak has the other half. It prints the rows of README.md's tables as they come,
 * and ends with 1 where anything was lost, doubled or otherwise found.
 */
import { parseArgs } from 'node:util';
import { brokenOff, CLASS_MISSING, CLASSES } from './classes.js';
import { rowOf, type Outcome } from './outcome.js';
import { soak } from './soak.js';

const MINUTE_MS = 60_000;
const FAULT_INTERVAL_MS = 20_000;
const CALIBRATE_MS = 10_000;

const { values } = parseArgs({
  options: { minutes: { type: 'string', default: '60' }, seed: { type: 'string' }, only: { type: 'string' } },
});
const lengthMs = Number(values.minutes) * MINUTE_MS;
const seed = values.seed === undefined ? Math.floor(Math.random() * 2 ** 31) : Number(values.seed);
const names = values.only === undefined ? [...Object.keys(CLASSES), 'soak'] : [values.only];
const isKnown = names.every((name) => name === 'soak' || name in CLASSES);
if (!isKnown || !(lengthMs > 0) || !Number.isSafeInteger(seed)) {
  console.error(`--minutes and --seed are numbers, --only is one of ${Object.keys(CLASSES).join(', ')}, soak`);
  process.exit(2);
}

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
  const options = { lengthMs: forMs, intervalMs: FAULT_INTERVAL_MS, seed, devices: 50, calibrateMs: CALIBRATE_MS };
  const result = await soak(options, (line) => console.log(line));
  take(result.outcome);
  console.log(`${result.ackedRecords} records were acked`);
  console.log('| what | first | most | last | slope of the second half, 1/h |\n| --- | --- | --- | --- | --- |');
  for (const row of result.rows) console.log(row);
}

console.log(`seed ${seed}, ${values.minutes} minutes`);
console.log(
  '| fault | tried | lost | doubled | other | recovery s, median / most |\n| --- | --- | --- | --- | --- | --- |',
);
for (const name of names) {
  const shareMs = names.length === 1 ? lengthMs : lengthMs / 2 / (name === 'soak' ? 1 : names.length - 1);
  if (name === 'soak') await runSoak(shareMs);
  else await runClass(name, shareMs);
}
process.exitCode = outcomes.some(({ lines }) => lines.length > 0) ? 1 : 0;
