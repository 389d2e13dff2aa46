/** The limits of a queue, and what is said where they are reached. */
import { statfsSync } from 'node:fs';
import { BATCH_HEADER_BYTES, MAX_BATCH_BYTES } from '../batch.js';
import { HoldfastError } from '../errors.js';
import { formatPosition, type Position } from '../position.js';

export interface QueueOptions {
  /** Bytes of unreleased batches at which appends are refused. */
  readonly quotaBytes: number;
  /** Free bytes on the file system below which appends are refused. */
  readonly diskFloorBytes: number;
  /** Bytes of released batches kept for replay. */
  readonly retainBytes: number;
  /** Called once, when a commit failed: the process must end. */
  readonly onFailure: (error: HoldfastError) => void;
}

/**
 * Why an append of `bytes` more is over a limit, or undefined.
 * @param path the queue's directory
 * @param heldBytes bytes of unreleased batches in the file
 * @param appendingBytes bytes of batches on their way there
 */
export function refusalOf(
  path: string,
  options: QueueOptions,
  heldBytes: number,
  appendingBytes: number,
  bytes: number,
): HoldfastError | undefined {
  const { quotaBytes, diskFloorBytes } = options;
  if (heldBytes + appendingBytes + bytes > quotaBytes) {
    const message = `the queue in ${path} is at its quota of ${quotaBytes} bytes; it goes on when batches are released`;
    return new HoldfastError('queue_full', message, true);
  }
  const disk = statfsSync(path);
  if (disk.bavail * disk.bsize < diskFloorBytes + appendingBytes + 2 * bytes) {
    const message = `the disk of ${path} is down to its floor of ${diskFloorBytes} free bytes; free some space`;
    return new HoldfastError('disk_low', message, true);
  }
  return undefined;
}

/**
 * The bytes of what is to be appended.
 * @throws HoldfastError bad_batch where one cannot be a value of the queue
 */
export function sizeOf(batches: readonly Buffer[]): number {
  if (batches.length === 0) throw new HoldfastError('bad_batch', 'an append of no batches', false);
  let bytes = 0;
  for (const { length } of batches) {
    if (length < BATCH_HEADER_BYTES || length > MAX_BATCH_BYTES) {
      throw new HoldfastError('bad_batch', `an append of a batch of ${length} bytes`, false);
    }
    bytes += length;
  }
  return bytes;
}

/** The error for a queue whose next hop holds more of it than it ever had, as of this epoch. */
export function olderCopy(path: string, held: Position, head: Position): HoldfastError {
  const where = `the next hop holds ${formatPosition(held)}, the queue in ${path} is at ${formatPosition(head)}`;
  const message = `${where}: it is an older copy, opened while the clock was behind; set the clock, or move the queue away`;
  return new HoldfastError('fenced', message, false);
}
