/**
 * `holdfast queue verify DIR`: reads every batch of a queue and says which cannot be trusted.
 *
 *   damaged   its checksum, its sizes or its position do not fit
 *   missing   an offset between two batches that is not there: offsets count without a gap over the life of a queue, and
 *             only oldest batches are deleted. What the service itself has set aside in quarantine/ is known and counted apart.
 *
 * The file's pages were checked when the reader opened it, unless a service has it open. It only reads.
 */
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { comparePositions, formatPosition, parsePosition, START, type Position } from '../../shared/position.js';
import type { QueueReader } from '../../shared/queue/reader.js';
import { visitQueue } from '../../shared/queue/visit.js';
import type { Progress } from './progress.js';
import { allKeys, problemOfValue } from './walk.js';

export interface Problem {
  readonly position: string;
  readonly problem: string;
}

export interface Verification {
  readonly path: string;
  readonly queueId: string | undefined;
  readonly batches: number;
  readonly records: number;
  readonly bytes: number;
  /** Positions of batches that the service has set aside because they were damaged. */
  readonly quarantined: readonly string[];
  /** Empty: the queue is whole. */
  readonly problems: readonly Problem[];
}

/**
 * Checks a queue, also beside its writer.
 * @param makeProgress is told how many bytes there are
 * @throws HoldfastError queue_unreadable where there is no whole queue in `path`
 */
export async function verifyQueue(path: string, makeProgress: (totalBytes: number) => Progress): Promise<Verification> {
  const reader = await visitQueue(path);
  const progress = makeProgress(bytesIn(reader));
  try {
    const problems: Problem[] = [];
    const totals = { batches: 0, records: 0, bytes: 0 };
    // Also those that are damaged throw here: a queue whose marks are off is not whole.
    const { size: marks } = reader.positions('');
    let last: Position | undefined;
    for (const { key, position, records, bytes } of allKeys(reader)) {
      if (last !== undefined) problems.push(...missingBetween(reader, path, last, position));
      last = position;
      totals.batches++;
      totals.records += records;
      totals.bytes += bytes;
      const problem = problemOfValue(reader.value(key), position);
      if (problem !== undefined) problems.push({ position: formatPosition(position), problem });
      progress.advance(bytes);
    }
    if (totals.batches > 0 && marks === 0)
      problems.push({ position: '0:0', problem: 'there are batches, and no head' });
    const quarantined = [...quarantinedIn(path)].map(formatPosition);
    return { path, queueId: reader.id, ...totals, quarantined, problems };
  } finally {
    progress.finish();
    await reader.close();
  }
}

/** A verification as lines for people. */
export function describeVerification(verification: Verification): string {
  const { path, batches, records, bytes, quarantined, problems } = verification;
  const amount = `${records} records in ${batches} batches, ${bytes} bytes`;
  const verdict = problems.length === 0 ? 'whole' : `${problems.length} problems`;
  return [
    ...problems.map(({ position, problem }) => `${position}  ${problem}`),
    ...quarantined.map((position) => `${position}  set aside in quarantine/ before`),
    `${path}: ${amount}: ${verdict}`,
    '',
  ].join('\n');
}

/** Sums the keys; reads no value. */
export function bytesIn(reader: QueueReader, after: Position = START): number {
  let bytes = 0;
  for (const key of allKeys(reader, after)) bytes += key.bytes;
  return bytes;
}

function missingBetween(reader: QueueReader, path: string, last: Position, next: Position): Problem[] {
  const count = next.offset - last.offset - 1;
  if (count === 0) return [];
  const position = formatPosition(next);
  if (count < 0) return [{ position, problem: `its offset does not follow that of ${formatPosition(last)}` }];
  const known = [...quarantinedIn(path)].filter(({ offset }) => offset > last.offset && offset < next.offset).length;
  if (known >= count) return [];
  // A live service has deleted the oldest batches since the walk began.
  const [first] = reader.keys(START, undefined, 1);
  if (first === undefined || comparePositions(first.position, last) > 0) return [];
  return [{ position, problem: `${count - known} batches before it are missing, after ${formatPosition(last)}` }];
}

/** Positions of what lies in quarantine/, from the names of its files (quarantine.ts). */
export function quarantinedIn(path: string): readonly Position[] {
  const directory = join(path, 'quarantine');
  if (!existsSync(directory)) return [];
  return readdirSync(directory).flatMap((name) => {
    const position = name.endsWith('.batch')
      ? parsePosition(name.slice(0, -'.batch'.length).replace('-', ':'))
      : undefined;
    return position === undefined ? [] : [position];
  });
}
