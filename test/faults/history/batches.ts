/** A queue as a stream of batches, in its order, beside its writer or after it. */
import { START } from '../../../shared/position.js';
import type { QueueReader } from '../../../shared/queue/reader.js';
import { visitQueue } from '../../../shared/queue/visit.js';

const PEEK_BYTES = 4 * 1024 * 1024;

/** Every batch that lies in the queue, released or not. @throws Error where one is damaged */
export async function withBatches(queuePath: string, work: (batches: Iterable<Buffer>) => void): Promise<void> {
  const reader = await visitQueue(queuePath);
  try {
    work(batchesOf(reader, queuePath));
  } finally {
    await reader.close();
  }
}

function* batchesOf(reader: QueueReader, queuePath: string): Generator<Buffer> {
  let after = START;
  for (;;) {
    const { batches, damaged, through } = reader.peek(after, PEEK_BYTES);
    if (damaged.length > 0) throw new Error(`the queue in ${queuePath} holds ${damaged.length} damaged batches`);
    if (batches.length === 0) return;
    yield* batches;
    after = through;
  }
}
