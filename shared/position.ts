/**
 * Where a batch stands in a queue: (epoch, offset), compared lexicographically.
 *
 * offset counts 1, 2, 3… over the life of the queue; epoch is taken anew at every open, so that an offset that comes
 * back after a snapshot was restored is still greater than all that went before.
 * On the wire: f64 epoch, f64 offset, little-endian (16 bytes).
 */
export interface Position {
  readonly epoch: number;
  readonly offset: number;
}

/** Before every batch of every queue. */
export const START: Position = { epoch: 0, offset: 0 };

export const POSITION_BYTES = 16;

/** Negative, zero or positive as `a` is before, at or after `b`. */
export function comparePositions(a: Position, b: Position): number {
  return a.epoch - b.epoch || a.offset - b.offset;
}

/** True where `next` is the batch right after `last` of the same open of the queue. */
export function follows(next: Position, last: Position): boolean {
  return next.epoch === last.epoch && next.offset === last.offset + 1;
}

/** Writes 16 bytes at `at` and returns the offset after them. */
export function writePosition(buffer: Buffer, position: Position, at: number): number {
  buffer.writeDoubleLE(position.epoch, at);
  return buffer.writeDoubleLE(position.offset, at + 8);
}

/** The 16 bytes of a position. */
export function encodePosition(position: Position): Buffer {
  const buffer = Buffer.allocUnsafe(POSITION_BYTES);
  writePosition(buffer, position, 0);
  return buffer;
}

/**
 * Reads 16 bytes at `at`.
 * @returns undefined where they are not there or are no whole, non-negative numbers
 */
export function readPosition(buffer: Buffer, at: number): Position | undefined {
  if (buffer.length < at + POSITION_BYTES) return undefined;
  const position = { epoch: buffer.readDoubleLE(at), offset: buffer.readDoubleLE(at + 8) };
  const whole = Number.isSafeInteger(position.epoch) && Number.isSafeInteger(position.offset);
  return whole && position.epoch >= 0 && position.offset >= 0 ? position : undefined;
}

/** `epoch:offset`, for logs and people. */
export function formatPosition(position: Position): string {
  return `${position.epoch}:${position.offset}`;
}

/** Reads `epoch:offset`. @returns undefined where the text is none */
export function parsePosition(text: string): Position | undefined {
  const match = /^(\d{1,16}):(\d{1,16})$/.exec(text);
  if (match === null) return undefined;
  const position = { epoch: Number(match[1]), offset: Number(match[2]) };
  return Number.isSafeInteger(position.epoch) && Number.isSafeInteger(position.offset) ? position : undefined;
}
