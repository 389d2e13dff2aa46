/**
 * What a visitor shows a writer before the writer keeps still for it (lock.ts). The lock's name can be seen by every user of the
 * network namespace, and by its containers' processes where that is the host's; the key is a file that only the queue's user reads.
 * It is made once, by the writer that holds the lock, and stays; one that a crash has cut short is made anew.
 */
import { randomBytes, timingSafeEqual } from 'node:crypto';
import { existsSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { HoldfastError, messageOf } from '../errors.js';

const KEY_FILE = 'visitor.key';
export const VISITOR_KEY_BYTES = 32;

/**
 * The key of the queue in a directory.
 * @returns undefined where no writer has made one yet
 * @throws HoldfastError queue_unreadable for another user than the queue's
 */
export function readVisitorKey(directory: string): Buffer | undefined {
  const path = join(directory, KEY_FILE);
  if (!existsSync(path)) return undefined;
  try {
    const key = readFileSync(path);
    return key.length === VISITOR_KEY_BYTES ? key : undefined;
  } catch (cause) {
    const message = `${path} cannot be read (${messageOf(cause)}); open a queue as the user that its service runs as`;
    throw new HoldfastError('queue_unreadable', message, false, cause);
  }
}

/** The key of the queue in a directory, which the caller is the only writer of; made where it is missing. */
export function keepVisitorKey(directory: string): Buffer {
  const kept = readVisitorKey(directory);
  if (kept !== undefined) return kept;
  const key = randomBytes(VISITOR_KEY_BYTES);
  const path = join(directory, KEY_FILE);
  writeFileSync(`${path}.new`, key, { mode: 0o600, flush: true });
  renameSync(`${path}.new`, path);
  return key;
}

/** Tells a visitor that has the key, without telling by its time how much of the key it has. */
export function isVisitorKey(shown: Buffer, key: Buffer): boolean {
  return shown.length === key.length && timingSafeEqual(shown, key);
}
