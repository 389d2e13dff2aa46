/**
 * A process that opens queues, reads all that is there and appends a little: `node queue-opener.js DIR…`. It prints one
 * JSON object a directory; where there is none for a directory, opening it ended the process.
 */
import { writeSync } from 'node:fs';
import { HoldfastError } from '../../shared/errors.js';
import { Queue } from '../../shared/queue/queue.js';
import { makeBatch, queueOptions, readAll, seqsOf } from './batches.js';

/** What became of one directory. */
export interface Opened {
  readonly path: string;
  /** The code of the error with which it was refused. */
  readonly code?: string;
  readonly message?: string;
  /** Every seq that was read. */
  readonly seqs: readonly number[];
  readonly quarantined: number;
  readonly records: number;
  readonly bytes: number;
}

async function open(path: string): Promise<Opened> {
  const nothing = { path, seqs: [], quarantined: 0, records: 0, bytes: 0 };
  try {
    const queue = Queue.open(path, queueOptions());
    const seqs = readAll(queue).flatMap(seqsOf);
    const { quarantined, records, bytes } = queue.stats();
    for (let round = 0; round < 3; round++) await queue.append([makeBatch([1_000_000], 5_000)]);
    await queue.close();
    return { path, seqs, quarantined, records, bytes };
  } catch (error) {
    if (error instanceof HoldfastError) return { ...nothing, code: error.code, message: error.message };
    throw error;
  }
}

for (const path of process.argv.slice(2)) writeSync(1, `${JSON.stringify(await open(path))}\n`);
