/**
 * Rows in PostgreSQL's binary COPY format, cut into pieces that are each a whole COPY.
 *
 *   header   11 bytes signature   u32 flags   u32 length of the extension (0)
 *   row      i16 number of fields, then for each: i32 bytes (-1: null) and the bytes          (big-endian)
 *   trailer  i16 -1
 */
const HEADER_BYTES = 19;
const TRAILER = Buffer.from([0xff, 0xff]);
const NULL_LENGTH = -1;

export interface CopyPieces {
  readonly pieces: readonly Buffer[];
  readonly rows: number;
}

/**
 * Cuts what `COPY … TO STDOUT (FORMAT binary)` gave.
 * @param rowsPerPiece rows of each piece but the last
 * @throws RangeError where the bytes are not what they should be
 */
export function cutCopy(data: Buffer, rowsPerPiece: number): CopyPieces {
  if (data.subarray(0, 7).toString('latin1') !== 'PGCOPY\n') throw new RangeError('this is no binary COPY');
  const header = data.subarray(0, HEADER_BYTES);
  const pieces: Buffer[] = [];
  let at = HEADER_BYTES;
  let start = at;
  let rows = 0;
  for (let fields = data.readInt16BE(at); fields !== -1; fields = data.readInt16BE(at)) {
    at += 2;
    for (let field = 0; field < fields; field++) {
      const length = data.readInt32BE(at);
      at += 4 + (length === NULL_LENGTH ? 0 : length);
    }
    if (++rows % rowsPerPiece === 0) {
      pieces.push(Buffer.concat([header, data.subarray(start, at), TRAILER]));
      start = at;
    }
  }
  if (at > start) pieces.push(Buffer.concat([header, data.subarray(start, at), TRAILER]));
  return { pieces, rows };
}
