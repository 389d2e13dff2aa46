/** What a soak needs of the disk, which is known before it begins. */
import { statfsSync } from 'node:fs';

/** A row of a fleet with its key: 245 bytes in an hour of 28.7 million, and some more. */
const ROW_BYTES = 300;
/** A record in the log of the history, with its share of acks. */
const HISTORY_BYTES = 24;
/** PostgreSQL's log, the queues while a service is away, and what the services leave free. */
const BESIDE_BYTES = 5 * 2 ** 30;

/** @throws Error where the disk of `directory` has no room for so many records; it says what is missing */
export function checkRoom(directory: string, records: number): void {
  const { bavail, bsize } = statfsSync(directory);
  const neededBytes = records * (ROW_BYTES + HISTORY_BYTES) + BESIDE_BYTES;
  const freeBytes = bavail * bsize;
  if (freeBytes >= neededBytes) return;
  const what = `${records} records need ${gib(neededBytes)} GiB in ${directory}, where ${gib(freeBytes)} GiB are free`;
  throw new Error(`${what}: make room, set TMPDIR, or give fewer --records-per-second or --minutes`);
}

function gib(bytes: number): string {
  return (bytes / 2 ** 30).toFixed(1);
}
