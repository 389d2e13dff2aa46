import fc from 'fast-check';
import { test } from 'tap';
import { cutCopy } from './copy-rows.js';

const header = Buffer.concat([Buffer.from('PGCOPY\n\xff\r\n\0', 'latin1'), Buffer.alloc(8)]);
const trailer = Buffer.from([0xff, 0xff]);

function encodeRow(fields: readonly (Uint8Array | null)[]): Buffer {
  const parts = fields.map((field) => {
    const length = Buffer.alloc(4);
    length.writeInt32BE(field === null ? -1 : field.length);
    return field === null ? length : Buffer.concat([length, field]);
  });
  const count = Buffer.alloc(2);
  count.writeInt16BE(fields.length);
  return Buffer.concat([count, ...parts]);
}

void test('a copy cut into pieces has every row once, in order, and no piece is longer than asked for', (t) => {
  const row = fc.array(fc.option(fc.uint8Array({ maxLength: 20 })), { minLength: 1, maxLength: 7 });
  fc.assert(
    fc.property(fc.array(row, { maxLength: 30 }), fc.integer({ min: 1, max: 10 }), (rows, rowsPerPiece) => {
      const encoded = rows.map(encodeRow);
      const { pieces, rows: counted } = cutCopy(Buffer.concat([header, ...encoded, trailer]), rowsPerPiece);
      const bodies = pieces.map((piece) => piece.subarray(header.length, piece.length - trailer.length));
      const whole = pieces.every((piece) => piece.subarray(0, 19).equals(header) && piece.subarray(-2).equals(trailer));
      const sizes = encoded.map((_, i) => Buffer.concat(encoded.slice(i * rowsPerPiece, (i + 1) * rowsPerPiece)));
      return (
        counted === rows.length &&
        whole &&
        pieces.length === Math.ceil(rows.length / rowsPerPiece) &&
        bodies.every((body, i) => body.equals(sizes[i]!))
      );
    }),
  );
  t.end();
});

void test('what is no binary copy is refused, and so is one that is cut off', (t) => {
  t.throws(() => cutCopy(Buffer.from('1\t2\n'), 1), /no binary COPY/);
  t.throws(() => cutCopy(Buffer.concat([header, encodeRow([Buffer.from('abc')]).subarray(0, 8)]), 1), RangeError);
  t.end();
});
