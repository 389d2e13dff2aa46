/**
 * From send to ack at 10,000 records/s, with everything running: edge, router, storage and PostgreSQL, the last three behind the
 * edge as `holdfast up` runs them.
 *
 * Slices of load and slices of bare 4 KiB write+fdatasync alternate, so that both see the same disk. The load is open:
 * records fall due by the clock, and latency counts from when the load came to send them (see load.ts). How late the load was,
 * and what the latency is from when they were due, is told beside it.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { BenchContext } from './context.js';
import { DiskFile, SMALL_WRITE_BYTES } from './disk.js';
import { LOAD_SHAPE } from './load-options.js';
import { runLoad } from './load-run.js';
import { atMost, RowCollector, type PartResult } from './results.js';
import { startWhole } from './whole.js';
import { median, percentile } from './statistics.js';

const RECORDS_PER_SECOND = 10_000;
/** The disk's slices: thousands of writes each. */
const DISK_SECONDS = 1.5;
/** Longer than storage waits to merge batches: the disk's slice begins when nothing is under way. */
const SETTLE_MS = 500;
const WARMUP_SECONDS = 1;

const LOAD = 'send → ack';
const FROM_DUE = 'due → ack';
const DISK = 'bare 4 KiB write+fdatasync';

/** The part `latency`. */
export async function benchLatency(context: BenchContext): Promise<PartResult> {
  const rows = new RowCollector();
  const whole = await startWhole(context);
  const file = new DiskFile(context.newDirectory('disk-file'));
  try {
    for (let round = 1; round <= context.options.rounds; round++) {
      const { seconds } = context.options;
      const request = { protocol: 'binary', port: whole.edge.port, warmupSeconds: WARMUP_SECONDS, seconds } as const;
      const result = await runLoad({ ...request, recordsPerSecond: RECORDS_PER_SECOND }, whole.processes);
      rows.add(LOAD, 'p50', 'ms', valueOf(result.values, 'ackP50Ms'));
      rows.add(LOAD, 'p99', 'ms', valueOf(result.values, 'ackP99Ms'));
      rows.add(LOAD, 'greatest', 'ms', valueOf(result.values, 'ackMaxMs'));
      rows.add(LOAD, 'acks', 'records/s', result.recordsPerSecond);
      rows.add(FROM_DUE, 'p50', 'ms', valueOf(result.values, 'dueToAckP50Ms'));
      rows.add(FROM_DUE, 'p99', 'ms', valueOf(result.values, 'dueToAckP99Ms'));
      rows.add('load generator', 'late p50', 'ms', valueOf(result.values, 'lateP50Ms'));
      rows.add('load generator', 'late p99', 'ms', valueOf(result.values, 'lateP99Ms'));
      for (const [name, cores] of result.cores) rows.add(name, 'CPU', 'cores', cores);
      rows.add('load generator', 'CPU', 'cores', result.loadCores);
      await sleep(SETTLE_MS);
      const disk = file.measure(SMALL_WRITE_BYTES, DISK_SECONDS);
      rows.add(DISK, 'p50', 'ms', percentile(disk, 0.5));
      rows.add(DISK, 'p99', 'ms', percentile(disk, 0.99));
      context.say(
        `round ${round}: p50 ${valueOf(result.values, 'ackP50Ms').toFixed(2)} ms, disk ${percentile(disk, 0.5).toFixed(2)} ms`,
      );
    }
  } finally {
    file.close();
    await whole.stop();
  }
  return {
    part: 'latency',
    method:
      'An open loop against the whole pipeline, in slices that alternate with slices of 4 KiB write+fdatasync on the same disk.',
    settings: {
      rounds: context.options.rounds,
      'records/s': RECORDS_PER_SECOND,
      'seconds of load a slice': context.options.seconds,
      'seconds of disk a slice': DISK_SECONDS,
      connections: LOAD_SHAPE.connections,
      'payload bytes': LOAD_SHAPE.payloadBytes,
    },
    rows: rows.rows,
    verdicts: [atMost('p50 / p50 of the disk', median(rows.ratios('p50', LOAD, DISK)), 15)],
    notes: [
      `p99 / p99 of the disk: ${median(rows.ratios('p99', LOAD, DISK)).toFixed(1)}`,
      `from when records were due, p50 / p50 of the disk: ${median(rows.ratios('p50', FROM_DUE, DISK)).toFixed(1)}`,
    ],
  };
}

function valueOf(values: Readonly<Record<string, number>>, name: string): number {
  const value = values[name];
  if (value === undefined) throw new Error(`the load did not tell ${name}`);
  return value;
}
