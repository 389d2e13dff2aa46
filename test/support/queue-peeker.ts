/** A thread that peeks at a queue without pause, as a monitor does under load; told to stop, it says what it saw. */
import { parentPort, workerData } from 'node:worker_threads';
import { comparePositions, START } from '../../shared/position.js';
import { QueueReader } from '../../shared/queue/reader.js';
import { readBatchHeader } from '../../shared/batch.js';

const reader = QueueReader.open(workerData as string);
let isStopped = false;
parentPort!.postMessage('ready');
parentPort!.once('message', () => (isStopped = true));

const stopped = (): boolean => isStopped;
let batches = 0;
let disorder = 0;
let after = START;
while (!stopped()) {
  const peek = reader.peek(after, 500_000);
  for (const batch of peek.batches) {
    const { position } = readBatchHeader(batch);
    if (comparePositions(position, after) <= 0) disorder++;
    after = position;
    batches++;
  }
  disorder += peek.damaged.length;
  await new Promise(setImmediate);
}
await reader.close();
parentPort!.postMessage({ batches, disorder });
