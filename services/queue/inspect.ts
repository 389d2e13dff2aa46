/**
 * `holdfast queue inspect DIR`: what a queue holds, with every checksum verified. It only reads, also beside a live writer.
 */
import { comparePositions, formatPosition, START, type Position } from '../../shared/position.js';
import { visitQueue } from '../../shared/queue/visit.js';
import { allKeys, problemOfValue } from './walk.js';

export interface Inspection {
  readonly path: string;
  readonly queueId: string | undefined;
  readonly head: string;
  readonly released: string;
  readonly first: string | undefined;
  /** Not released yet. */
  readonly waiting: Counts;
  /** Released, kept for replay or not deleted yet. */
  readonly retained: Counts;
  readonly oldest: string | undefined;
  /** How far each consumer has acked (a router's queue). */
  readonly cursors: Readonly<Record<string, string>>;
  /** How far each edge's queue is stored here (a router's queue). */
  readonly sources: Readonly<Record<string, string>>;
  /** Batches that fail their check, and why. */
  readonly damaged: readonly { readonly position: string; readonly problem: string }[];
}

interface Counts {
  batches: number;
  records: number;
  bytes: number;
}

/** @throws HoldfastError queue_unreadable where there is no whole queue in `path` */
export async function inspectQueue(path: string): Promise<Inspection> {
  const reader = await visitQueue(path);
  try {
    const released = reader.position('released') ?? START;
    const waiting: Counts = { batches: 0, records: 0, bytes: 0 };
    const retained: Counts = { batches: 0, records: 0, bytes: 0 };
    const damaged: { position: string; problem: string }[] = [];
    let first: Position | undefined;
    let oldestMs: number | undefined;
    for (const key of allKeys(reader)) {
      first ??= key.position;
      const isWaiting = comparePositions(key.position, released) > 0;
      if (isWaiting) oldestMs ??= key.committedMs;
      const counts = isWaiting ? waiting : retained;
      counts.batches++;
      counts.records += key.records;
      counts.bytes += key.bytes;
      const problem = problemOfValue(reader.value(key.key), key.position);
      if (problem !== undefined) damaged.push({ position: formatPosition(key.position), problem });
    }
    return {
      path,
      queueId: reader.id,
      head: formatPosition(reader.head),
      released: formatPosition(released),
      first: first && formatPosition(first),
      waiting,
      retained,
      oldest: oldestMs === undefined ? undefined : new Date(oldestMs).toISOString(),
      cursors: formatAll(reader.positions('cursor/')),
      sources: formatAll(reader.positions('source/')),
      damaged,
    };
  } finally {
    await reader.close();
  }
}

/** An inspection as lines for people. */
export function describeInspection(inspection: Inspection): string {
  const { waiting, retained, damaged } = inspection;
  const lines: [string, string][] = [
    ['queue', `${inspection.queueId ?? 'none'} in ${inspection.path}`],
    ['head', inspection.head],
    ['released', inspection.released],
    ['first', inspection.first ?? 'none'],
    ['waiting', describeCounts(waiting)],
    ['retained', describeCounts(retained)],
    ['oldest', inspection.oldest ?? 'none'],
    ...Object.entries(inspection.cursors).map(([name, at]): [string, string] => [`consumer ${name}`, at]),
    ...Object.entries(inspection.sources).map(([id, at]): [string, string] => [`source ${id}`, at]),
    ['checksums', damaged.length === 0 ? 'all good' : `${damaged.length} damaged`],
    ...damaged.map(({ position, problem }): [string, string] => [`damaged ${position}`, problem]),
  ];
  const width = Math.max(...lines.map(([name]) => name.length));
  return lines.map(([name, value]) => `${name.padEnd(width)}  ${value}\n`).join('');
}

function describeCounts({ batches, records, bytes }: Counts): string {
  return `${records} records in ${batches} batches, ${bytes} bytes`;
}

function formatAll(positions: ReadonlyMap<string, Position>): Readonly<Record<string, string>> {
  return Object.fromEntries([...positions].map(([name, position]) => [name, formatPosition(position)]));
}
