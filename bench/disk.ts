/**
 * The disk alone: 4 KiB written and fdatasynced in a loop, which is the least that any durable ack can cost, and larger
 * writes the same way, which is the most that can be acked in a second.
 *
 * The file is written once before and then overwritten in order, so that no fdatasync has to write the file system's own
 * bookkeeping too: the cheapest case, and the hardest one to stand beside.
 */
import { closeSync, fdatasyncSync, openSync, rmSync, writeSync } from 'node:fs';
import type { BenchContext } from './context.js';
import { RowCollector, type PartResult } from './results.js';
import { Samples, percentile } from './statistics.js';

const FILE_BYTES = 64 * 1024 * 1024;
export const SMALL_WRITE_BYTES = 4 * 1024;
const LARGE_WRITE_BYTES = 256 * 1024;
const MAX_WRITES_PER_SECOND = 100_000;

export class DiskFile {
  readonly #file: string;
  readonly #descriptor: number;

  constructor(file: string) {
    this.#file = file;
    this.#descriptor = openSync(file, 'w');
    const zeros = Buffer.alloc(1024 * 1024, 1);
    for (let at = 0; at < FILE_BYTES; at += zeros.length) writeSync(this.#descriptor, zeros, 0, zeros.length, at);
    fdatasyncSync(this.#descriptor);
  }

  /**
   * Writes and fdatasyncs blocks for so long, and nothing else: the process does not turn its event loop meanwhile.
   * @returns how long each took, in ms, ascending
   */
  measure(blockBytes: number, seconds: number): Float64Array {
    const block = Buffer.alloc(blockBytes, 2);
    const samples = new Samples(Math.ceil(seconds * MAX_WRITES_PER_SECOND));
    const until = performance.now() + seconds * 1000;
    let at = 0;
    for (let now = performance.now(); now < until;) {
      writeSync(this.#descriptor, block, 0, blockBytes, at);
      fdatasyncSync(this.#descriptor);
      const after = performance.now();
      samples.add(after - now);
      now = after;
      at = (at + blockBytes) % FILE_BYTES;
    }
    return samples.sorted();
  }

  close(): void {
    closeSync(this.#descriptor);
    rmSync(this.#file);
  }
}

/** The part `disk`: what the machine can do, for the reader of the other parts. */
export function benchDisk(context: BenchContext): Promise<PartResult> {
  const rows = new RowCollector();
  const file = new DiskFile(context.newDirectory('disk-file'));
  try {
    for (let round = 0; round < context.options.rounds; round++) {
      const small = file.measure(SMALL_WRITE_BYTES, 1);
      rows.add('4 KiB', 'write+fdatasync p50', 'ms', percentile(small, 0.5));
      rows.add('4 KiB', 'write+fdatasync p99', 'ms', percentile(small, 0.99));
      const large = file.measure(LARGE_WRITE_BYTES, 1);
      rows.add('256 KiB', 'write+fdatasync p50', 'ms', percentile(large, 0.5));
      rows.add('256 KiB', 'write+fdatasync p99', 'ms', percentile(large, 0.99));
      rows.add('256 KiB', 'durably written', 'MB/s', (large.length * LARGE_WRITE_BYTES) / 1e6);
    }
  } finally {
    file.close();
  }
  return Promise.resolve({
    part: 'disk',
    method: 'One thread overwrites a 64 MiB file in order: write, fdatasync, again.',
    settings: { rounds: context.options.rounds, 'seconds a slice': 1 },
    rows: rows.rows,
    verdicts: [],
    notes: [],
  });
}
