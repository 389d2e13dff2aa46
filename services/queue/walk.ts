/**
 * The walk over a queue that every command here is made of. It goes in chunks, each of a fresh snapshot: one that is held for
 * the whole walk would keep LMDB from reusing pages, and let a live writer's file grow.
 */
import { checkBatch } from '../../shared/batch.js';
import { HoldfastError, messageOf } from '../../shared/errors.js';
import { comparePositions, START, type Position } from '../../shared/position.js';
import type { Peek, QueueReader } from '../../shared/queue/reader.js';

type StoredKeys = ReturnType<QueueReader['keys']>;

const CHUNK_KEYS = 1_000;
const CHUNK_BYTES = 4 * 1024 * 1024;

/** Every key after a position, oldest first. */
export function* allKeys(reader: QueueReader, after: Position = START): StoredKeys {
  for (let keys = [...reader.keys(after, undefined, CHUNK_KEYS)]; keys.length > 0;) {
    yield* keys;
    after = keys.at(-1)!.position;
    keys = [...reader.keys(after, undefined, CHUNK_KEYS)];
  }
}

/** Every batch after a position, oldest first, in chunks of some MiB; ends where nothing more is there. */
export function* allBatches(reader: QueueReader, after: Position): Generator<Peek> {
  for (;;) {
    const peek = reader.peek(after, CHUNK_BYTES);
    if (comparePositions(peek.through, after) === 0) return;
    yield peek;
    after = peek.through;
  }
}

/** What is wrong with the value that lies at a position, or undefined. */
export function problemOfValue(value: Buffer | undefined, position: Position): string | undefined {
  if (value === undefined) return undefined; // Released and deleted while we looked.
  try {
    const header = checkBatch(value);
    return comparePositions(header.position, position) === 0 ? undefined : 'it belongs to another position';
  } catch (error) {
    if (error instanceof HoldfastError) return messageOf(error);
    throw error;
  }
}
