/** Batches for tests: each record's seq tells which it is. */
import { BatchBuilder, Kind, MAX_BATCH_BYTES, RecordCursor, stampBatch } from '../../shared/batch.js';
import type { Position } from '../../shared/position.js';
import type { QueueOptions } from '../../shared/queue/queue.js';
import type { QueueReader } from '../../shared/queue/reader.js';

const DEVICE = Buffer.from('press-1', 'latin1');

/** A batch of one record a seq, each with a payload of `payloadBytes`; a copy, which the queue may stamp. */
export function makeBatch(seqs: readonly number[], payloadBytes = 20): Buffer {
  const builder = new BatchBuilder(MAX_BATCH_BYTES);
  const payload = Buffer.alloc(payloadBytes);
  for (const seq of seqs) {
    payload.fill(`${seq}.`);
    const fits = builder.add(Kind.telemetry, DEVICE, seq, 1_000 + seq, 2_000 + seq, payload, 0, payloadBytes);
    if (!fits) throw new Error(`${seqs.length} records of ${payloadBytes} bytes do not fit one batch`);
  }
  return Buffer.from(builder.build());
}

/** A batch as it would come from another queue. */
export function makeStampedBatch(position: Position, seqs: readonly number[], payloadBytes = 20): Buffer {
  const batch = makeBatch(seqs, payloadBytes);
  stampBatch(batch, position, 1_000);
  return batch;
}

export function seqsOf(batch: Buffer): number[] {
  const seqs: number[] = [];
  for (const cursor = new RecordCursor(batch); cursor.next();) seqs.push(cursor.seq);
  return seqs;
}

/** Every batch of a queue that is there, oldest first. */
export function readAll(queue: Pick<QueueReader, 'peek'>, after: Position = { epoch: 0, offset: 0 }): Buffer[] {
  const all: Buffer[] = [];
  for (let peek = queue.peek(after, 2 ** 24); peek.through !== after; peek = queue.peek(after, 2 ** 24)) {
    if (peek.through.epoch === after.epoch && peek.through.offset === after.offset) break;
    all.push(...peek.batches);
    after = peek.through;
  }
  return all;
}

/** Options of a queue that refuses nothing and throws where a commit fails. */
export function queueOptions(options: Partial<QueueOptions> = {}): QueueOptions {
  const onFailure = (error: Error): never => {
    throw error;
  };
  return { quotaBytes: 2 ** 28, diskFloorBytes: 0, retainBytes: 0, onFailure, ...options };
}
