/**
 * `holdfast queue tail DIR`: the newest records of a queue as lines, and with `follow` what is appended from then on. It reads,
 * also beside a running service; a record that is released and deleted before it is looked at is not shown.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { comparePositions, START, type Position } from '../../shared/position.js';
import type { QueueReader } from '../../shared/queue/reader.js';
import { visitQueue } from '../../shared/queue/visit.js';
import { linesOf } from './lines.js';
import { allBatches, allKeys } from './walk.js';

export interface TailOptions {
  readonly path: string;
  /** Only this device's records. */
  readonly device: string | undefined;
  /** How many records of those that are there are shown: the newest. */
  readonly limit: number;
  /** True: goes on until `signal` aborts. */
  readonly follow: boolean;
  readonly signal: AbortSignal;
  readonly write: (text: string) => Promise<void>;
  /** Told of every batch that fails its checksum and is passed over. */
  readonly onDamaged: (position: Position) => void;
}

const POLL_MS = 200;

/** @throws HoldfastError queue_unreadable */
export async function tailQueue(options: TailOptions): Promise<void> {
  const reader = await visitQueue(options.path);
  try {
    let through = await showNewest(reader, options);
    while (options.follow && !options.signal.aborted) {
      await sleep(POLL_MS, undefined, { signal: options.signal }).catch(() => undefined);
      through = await showAfter(reader, through, options);
    }
  } finally {
    await reader.close();
  }
}

/** @returns the position of the last batch that was there */
async function showNewest(reader: QueueReader, options: TailOptions): Promise<Position> {
  const { device, limit, write } = options;
  // Keys tell how many records a batch has, but not whose: only without a device can the older batches be left unread.
  let through = device === undefined ? behindNewest(reader, limit) : START;
  const newest: string[] = [];
  for (const peek of allBatches(reader, through)) {
    peek.damaged.forEach(options.onDamaged);
    for (const batch of peek.batches) newest.push(...linesOf(batch, device));
    if (newest.length > limit) newest.splice(0, newest.length - limit);
    through = peek.through;
  }
  await write(newest.join(''));
  return through;
}

async function showAfter(reader: QueueReader, after: Position, options: TailOptions): Promise<Position> {
  let through = after;
  for (const peek of allBatches(reader, after)) {
    peek.damaged.forEach(options.onDamaged);
    for (const batch of peek.batches) await options.write([...linesOf(batch, options.device)].join(''));
    through = peek.through;
    if (options.signal.aborted) break;
  }
  return through;
}

/** A position behind which lie at least `limit` records, or all. */
function behindNewest(reader: QueueReader, limit: number): Position {
  const kept: { readonly position: Position; readonly records: number }[] = [];
  let records = 0;
  let before = START;
  for (const key of allKeys(reader)) {
    kept.push(key);
    records += key.records;
    while (kept.length > 0 && records - kept[0]!.records >= limit) {
      const { position, records: dropped } = kept.shift()!;
      records -= dropped;
      if (comparePositions(position, before) > 0) before = position;
    }
  }
  return before;
}
