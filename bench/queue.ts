/**
 * The queue alone: what a put and a pop cost on top of a backlog of 0, 1 and 4 GiB, and whether rate and file stay as they are
 * when it goes on for long. A commit is eight batches of 256 KiB.
 */
import { packagePath } from '../shared/paths.js';
import type { BenchContext } from './context.js';
import { startNode } from './processes.js';
import { atLeast, atMost, RowCollector, type PartResult } from './results.js';
import { median } from './statistics.js';

/** Backlogs that are measured in a round. */
const WINDOWS = 3;
/** Of soak for each second of a window. */
const SOAK_FACTOR = 4;
const DEADLINE_MS = 300_000;
const RATE = 'put and pop';
const FILE = 'data.mdb';

/** The part `queue`. */
export async function benchQueue(context: BenchContext): Promise<PartResult> {
  const rows = new RowCollector();
  const { rounds, seconds } = context.options;
  const soakSeconds = seconds * SOAK_FACTOR;
  const directory = context.newDirectory('queue');
  const words = [directory, ...[rounds, seconds / 2, soakSeconds].map(String)];
  const child = startNode('queue', packagePath('dist', 'bench', 'queue-work.js'), words, {}, context.nodeOptions);
  for (let window = 0; window < WINDOWS * rounds; window++) {
    const values = await child.message('window', DEADLINE_MS);
    const side = sideOf(values['backlogGib']!);
    rows.add(side, RATE, 'records/s', values['recordsPerSecond']!);
    rows.add(side, 'CPU a record', 'µs', values['cpuMicroseconds']!);
    rows.add(side, 'one commit', 'ms', values['commitMs']!);
    context.say(`${side}: ${Math.round(values['recordsPerSecond']!)} records/s`);
  }
  for (let second = 0; second < soakSeconds; second += 2) {
    const values = await child.message('slice', DEADLINE_MS);
    rows.add(`soak of ${soakSeconds} s`, RATE, 'records/s', values['recordsPerSecond']!);
    rows.add(`soak of ${soakSeconds} s`, FILE, 'bytes', values['fileBytes']!);
  }
  await child.message('done', DEADLINE_MS);
  await child.finished(DEADLINE_MS);
  context.remove(directory);
  const files = rows.values(`soak of ${soakSeconds} s`, FILE);
  const cpu = rows.ratios('CPU a record', sideOf(4), sideOf(0));
  return {
    part: 'queue',
    method:
      'One process puts eight batches in a commit and pops as many of the oldest, while the backlog below stays as it is, round after round on each backlog, in a file that has had its greatest size; then, with an empty queue, for longer.',
    settings: { rounds, 'seconds a window': seconds / 2, 'batches a commit': 8, 'bytes a batch': '256 KiB' },
    rows: rows.rows,
    verdicts: [
      atMost('CPU a record, on 4 GiB / on nothing, median of the rounds', median(cpu), 1.1),
      atMost('size of the file, last slice / first slice', files.at(-1)! / files[0]!, 1.01),
      atLeast('rate, last half of the soak / first half', halves(rows.values(`soak of ${soakSeconds} s`, RATE)), 0.9),
    ],
    notes: [],
  };
}

function sideOf(backlogGib: number): string {
  return backlogGib === 0 ? 'no backlog' : `backlog of ${backlogGib} GiB`;
}

function halves(values: readonly number[]): number {
  const middle = Math.floor(values.length / 2);
  return median(values.slice(middle)) / median(values.slice(0, middle));
}
