/**
 * How a queue is opened by hand, while its service is not at work.
 *
 * Limits are those of no service: nothing is appended here, so that no quota applies, and nothing is deleted, because how much
 * is retained is for the service to say. So the map only has to hold whatever the file holds.
 */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { Lock } from '../../shared/queue/lock.js';
import { Queue } from '../../shared/queue/queue.js';
import { QueueReader } from '../../shared/queue/reader.js';
import { DATA_FILE, unreadable } from '../../shared/queue/store.js';

/** Any bytes in the file are below it; what is mapped costs no memory. */
const ALL_BYTES = 2 ** 38;

/**
 * Opens a queue for reading and keeps its service from opening it.
 * @throws HoldfastError queue_unreadable, queue_locked
 */
export function openLocked(path: string): { readonly reader: QueueReader; readonly lock: Lock } {
  if (!existsSync(join(path, DATA_FILE))) throw unreadable(path, `there is no ${DATA_FILE}`);
  const lock = Lock.take(path);
  try {
    return { reader: QueueReader.open(path, 'inspect'), lock };
  } catch (error) {
    lock.release();
    throw error;
  }
}

/**
 * Opens a queue that is there as its writer, with a reader beside it.
 * @throws HoldfastError queue_unreadable, also where there is none: nothing is made; queue_locked
 */
export function openToChange(path: string): { readonly queue: Queue; readonly reader: QueueReader } {
  if (!existsSync(join(path, DATA_FILE))) throw unreadable(path, `there is no ${DATA_FILE}`);
  const queue = Queue.open(path, {
    quotaBytes: ALL_BYTES,
    diskFloorBytes: 0,
    retainBytes: ALL_BYTES,
    onFailure: (error) => {
      throw error;
    },
  });
  return { queue, reader: QueueReader.open(path) };
}
