/**
 * A process that appends to a queue until it is killed: `node queue-writer.js DIR append|cycle [quotaBytes]`.
 *
 * It prints `epoch:offset first last` after each append: where the last batch stands, and the first and last seq in what was
 * appended. With each append goes the named position `source/writer`, whose offset is the last seq. Several appends are
 * under way at a time. With `cycle` it releases what is more than 40 batches old.
 */
import { writeSync } from 'node:fs';
import { START, formatPosition } from '../../shared/position.js';
import { Queue } from '../../shared/queue/queue.js';
import { makeBatch, queueOptions } from './batches.js';

const SOURCE = 'source/writer';
const [directory, mode, quotaBytes = '268435456'] = process.argv.slice(2) as [string, string, string?];
const queue = Queue.open(
  directory,
  queueOptions({
    quotaBytes: Number(quotaBytes),
    onFailure: (error) => {
      writeSync(2, `${error.code}: ${error.message}\n`);
      process.exit(17);
    },
  }),
);
let seq = queue.position(SOURCE)?.offset ?? START.offset;
writeSync(1, 'open\n');

async function appendOne(): Promise<void> {
  const first = seq + 1;
  const batches = Array.from({ length: 1 + Math.floor(Math.random() * 3) }, () => {
    const size = Math.random() < 0.1 ? 60_000 : Math.floor(Math.random() * 3_000);
    return makeBatch([++seq, ++seq], size);
  });
  const last = seq;
  const head = await queue.append(batches, [[SOURCE, { epoch: 1, offset: last }]]);
  writeSync(1, `${formatPosition(head)} ${first} ${last}\n`);
  if (mode === 'cycle') queue.release({ ...head, offset: Math.max(0, head.offset - 40) });
}

async function appendOn(): Promise<never> {
  for (;;) await appendOne();
}

await Promise.race([appendOn(), appendOn(), appendOn()]);
