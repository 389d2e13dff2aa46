import { deepStrictEqual, ok } from 'node:assert/strict';
import fc from 'fast-check';
import { test } from 'tap';
import { Window } from './window.js';

/** The seqs that a window says are stored. */
function named(window: Window): number[] {
  const { known } = window;
  if (known === undefined) return [];
  const seqs = [];
  for (let seq = known.first; seq <= known.last; seq++) seqs.push(seq);
  for (let bit = 0; bit < 32; bit++) if (((known.bitmap >>> bit) & 1) === 1) seqs.push(known.last + 2 + bit);
  return seqs;
}

/** Orders in which datagrams with rising seqs may come: some lost, some late, some twice, now and then a jump. */
const arrivals = fc
  .array(fc.oneof({ arbitrary: fc.integer({ min: -40, max: 40 }), weight: 9 }, fc.integer({ min: -500, max: 500 })), {
    maxLength: 120,
  })
  .map((offsets) => offsets.map((offset, index) => Math.max(1, 2 * index + 1 + offset)));

void test('a window names nothing but what was noted, and always what was noted last', (t) => {
  fc.assert(
    fc.property(arrivals, (seqs) => {
      const window = new Window();
      const noted = new Set<number>();
      for (const seq of seqs) {
        window.note(seq, 1_000 + seq);
        noted.add(seq);
        const names = named(window);
        ok(names.every((name) => noted.has(name)));
        ok(names.includes(seq));
        ok(window.known!.bitmap >= 0);
        ok(!noted.has(window.known!.last + 1) || !names.includes(window.known!.last + 1));
      }
    }),
    { numRuns: 500 },
  );
  t.end();
});

void test('what comes in disorder within the reach is named whole', (t) => {
  fc.assert(
    fc.property(
      fc.shuffledSubarray(
        Array.from({ length: 33 }, (_, index) => 100 + index),
        { minLength: 33 },
      ),
      (seqs) => {
        const window = new Window();
        for (let seq = 1; seq < 100; seq++) window.note(seq, seq);
        for (const seq of seqs) window.note(seq, seq);
        deepStrictEqual(window.known, { first: 1, last: 132, bitmap: 0 });
      },
    ),
  );
  t.end();
});

void test('a gap that stays drops what is before it once the device is too far on', (t) => {
  const window = new Window();
  for (const seq of [7, 8, 9, 11, 12, 20]) window.note(seq, seq);
  t.strictSame(window.known, { first: 7, last: 9, bitmap: 0b10_0000_0011 }, '10 is the gap, bit 0 is 11');
  window.note(42, 42);
  t.strictSame(window.known, { first: 7, last: 9, bitmap: ((2 ** 31) | 0b10_0000_0011) >>> 0 }, 'bit 31 is 42');
  window.note(43, 43);
  t.strictSame(named(window), [11, 12, 20, 42, 43]);
  window.note(10, 10);
  t.strictSame(window.known, { ...window.known, first: 10, last: 12 });
  window.note(1_000, 1_000);
  t.strictSame(window.known, { first: 1_000, last: 1_000, bitmap: 0 });
  t.end();
});

void test('a record is known by its seq and its time; a seq with another time is a device that counts anew', (t) => {
  const window = new Window();
  for (let seq = 1; seq <= 40; seq++) window.note(seq, 5_000 + seq);
  t.ok(window.has(40, 5_040));
  t.notOk(window.has(40, 5_041));
  t.notOk(window.has(41, 5_041));
  t.notOk(window.has(8, 5_008), 'too long ago to be sure');
  t.ok(window.has(9, 5_009));
  window.note(39, 6_000);
  t.strictSame(window.known, { first: 39, last: 39, bitmap: 0 });
  t.notOk(window.has(40, 5_040));
  t.end();
});
