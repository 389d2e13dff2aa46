/** Lines of a stream, one at a time and bounded: the stream is not read further than it is asked for. */
import { HoldfastError } from '../../shared/errors.js';

export interface Line {
  /** From 1. */
  readonly number: number;
  /** Without the newline; undefined: the line is longer than the limit. */
  readonly bytes: Buffer | undefined;
}

const NEWLINE = 0x0a;

/**
 * Splits a stream of bytes at newlines. The last line needs none.
 * @param maxBytes the longest line that is kept
 * @throws HoldfastError bad_record where the stream does not bring bytes
 */
export async function* readLines(stream: AsyncIterable<unknown>, maxBytes: number): AsyncGenerator<Line> {
  let parts: Buffer[] = [];
  let length = 0;
  let number = 1;
  const keep = (part: Buffer): void => {
    length += part.length;
    if (length <= maxBytes) parts.push(part);
    else parts = [];
  };
  const take = (): Line => {
    const line = { number: number++, bytes: length <= maxBytes ? Buffer.concat(parts) : undefined };
    parts = [];
    length = 0;
    return line;
  };
  for await (const chunk of stream) {
    if (!Buffer.isBuffer(chunk)) throw new HoldfastError('bad_record', 'the input is not a stream of bytes', false);
    let start = 0;
    for (let end = chunk.indexOf(NEWLINE); end >= 0; end = chunk.indexOf(NEWLINE, start)) {
      keep(chunk.subarray(start, end));
      yield take();
      start = end + 1;
    }
    if (start < chunk.length) keep(chunk.subarray(start));
  }
  if (length > 0) yield take();
}
