/**
 * The named positions of a queue: `head`, `released`, `cursor/<consumer>`, `source/<queue id>`. What was set waits here
 * for the next transaction to ride in; whoever asks gets what was last set, on disk or not.
 *
 * In the file: 16 position, u32 crc32 of name and position.
 */
import { crc32 } from 'node:zlib';
import { HoldfastError } from '../errors.js';
import { encodePosition, POSITION_BYTES, readPosition, writePosition, type Position } from '../position.js';
import type { Store } from './store.js';

export type NamedPosition = readonly [name: string, position: Position];

const CHECKSUM_BYTES = 4;

export class NamedPositions {
  readonly #set: Map<string, Position>;
  readonly #unwritten = new Set<string>();

  /** @param stored what lies in the file */
  constructor(stored: ReadonlyMap<string, Position>) {
    this.#set = new Map(stored);
  }

  /** True where something waits to be written. */
  get waiting(): boolean {
    return this.#unwritten.size > 0;
  }

  get(name: string): Position | undefined {
    return this.#set.get(name);
  }

  /** All whose name starts with `prefix`, by the rest of their names. */
  startingWith(prefix: string): Map<string, Position> {
    const found = [...this.#set].filter(([name]) => name.startsWith(prefix));
    return new Map(found.map(([name, position]) => [name.slice(prefix.length), position]));
  }

  /** Sets a position, to be written by the next transaction. */
  set(name: string, position: Position): void {
    this.#set.set(name, position);
    this.#unwritten.add(name);
  }

  /** Takes over positions that a transaction of their own has written. */
  adopt(written: readonly NamedPosition[]): void {
    for (const [name, position] of written) this.#set.set(name, position);
  }

  delete(name: string): void {
    this.#set.delete(name);
    this.#unwritten.delete(name);
  }

  /** Hands out what waits to be written. */
  take(): readonly NamedPosition[] {
    const taken = [...this.#unwritten].map((name): NamedPosition => [name, this.#set.get(name)!]);
    this.#unwritten.clear();
    return taken;
  }
}

/** Part of a transaction. */
export function putPositions(store: Store, positions: readonly NamedPosition[]): void {
  for (const [name, position] of positions) void store.meta.put(name, encodeNamed(name, position));
}

function encodeNamed(name: string, position: Position): Buffer {
  const value = Buffer.allocUnsafe(POSITION_BYTES + CHECKSUM_BYTES);
  value.writeUInt32LE(checksum(name, position), writePosition(value, position, 0));
  return value;
}

/**
 * A named position as it lies in the file.
 * @throws HoldfastError queue_unreadable where it is damaged: a `released` that is off would drop batches unsent
 */
export function decodeNamed(name: string, value: Buffer): Position {
  const position = value.length === POSITION_BYTES + CHECKSUM_BYTES ? readPosition(value, 0) : undefined;
  if (position !== undefined && value.readUInt32LE(POSITION_BYTES) === checksum(name, position)) return position;
  throw new HoldfastError('queue_unreadable', `the position ${JSON.stringify(name)} in the queue is damaged`, false);
}

function checksum(name: string, position: Position): number {
  return crc32(encodePosition(position), crc32(name));
}
