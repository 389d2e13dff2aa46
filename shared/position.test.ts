import fc from 'fast-check';
import { test } from 'tap';
import {
  comparePositions,
  encodePosition,
  follows,
  formatPosition,
  parsePosition,
  POSITION_BYTES,
  readPosition,
  START,
  writePosition,
} from './position.js';

const position = fc.record({ epoch: fc.maxSafeNat(), offset: fc.maxSafeNat() }, { noNullPrototype: true });

void test('a position is read as it was written, anywhere in a buffer', (t) => {
  const property = fc.property(position, fc.nat(20), (written, at) => {
    const buffer = Buffer.alloc(at + POSITION_BYTES, 0xff);
    t.equal(writePosition(buffer, written, at), at + POSITION_BYTES);
    t.strictSame(readPosition(buffer, at), written);
    t.strictSame(readPosition(encodePosition(written), 0), written);
    t.equal(readPosition(buffer, at + 1), undefined, 'not where it is cut off');
  });
  fc.assert(property);
  t.end();
});

void test('what is no whole, non-negative number is no position', (t) => {
  for (const bad of [Number.NaN, -1, 0.5, Infinity, 2 ** 53]) {
    t.equal(readPosition(encodePosition({ epoch: bad, offset: 1 }), 0), undefined);
    t.equal(readPosition(encodePosition({ epoch: 1, offset: bad }), 0), undefined);
  }
  t.end();
});

void test('positions are in one order: by epoch, then by offset', (t) => {
  const small = fc.record({ epoch: fc.nat(3), offset: fc.nat(3) }, { noNullPrototype: true });
  fc.assert(
    fc.property(fc.array(small), (positions) => {
      const sorted = positions.toSorted(comparePositions).map(({ epoch, offset }) => epoch * 10 + offset);
      t.strictSame(
        sorted,
        sorted.toSorted((a, b) => a - b),
      );
    }),
  );
  t.ok(comparePositions(START, { epoch: 1, offset: 0 }) < 0);
  t.ok(comparePositions({ epoch: 2, offset: 0 }, { epoch: 1, offset: 1e15 }) > 0);
  t.equal(comparePositions({ epoch: 1, offset: 2 }, { epoch: 1, offset: 2 }), 0);
  t.end();
});

void test('a batch follows the one right before it of the same open, and no other', (t) => {
  t.ok(follows({ epoch: 5, offset: 8 }, { epoch: 5, offset: 7 }));
  t.notOk(follows({ epoch: 5, offset: 8 }, { epoch: 5, offset: 6 }));
  t.notOk(follows({ epoch: 5, offset: 8 }, { epoch: 5, offset: 8 }));
  t.notOk(follows({ epoch: 6, offset: 8 }, { epoch: 5, offset: 7 }), 'between two opens one may be lost');
  t.equal(formatPosition({ epoch: 5, offset: 8 }), '5:8');
  t.end();
});

void test('a position is read as people write it', (t) => {
  fc.assert(fc.property(position, (written) => void t.strictSame(parsePosition(formatPosition(written)), written)));
  for (const text of ['', '1', '1:', ':1', '-1:1', '1:1.5', ' 1:1', '1:1:1', '9007199254740992:1', 'a:b']) {
    t.equal(parsePosition(text), undefined, text);
  }
  t.end();
});
