import fc from 'fast-check';
import { test } from 'tap';
import { pauseMs } from './commit-pace.js';

void test('few records are committed one group after the other, however fast the disk is', (t) => {
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 95 }), fc.double({ min: 0, max: 1e4, noNaN: true }), (records, tookMs) => {
      return pauseMs(records, tookMs) === 0;
    }),
  );
  t.end();
});

void test('commits of a crowd start 3 ms apart, and at once where one took longer', (t) => {
  t.equal(pauseMs(96, 0), 3);
  t.equal(pauseMs(100_000, 1.25), 1.75);
  t.equal(pauseMs(96, 3), 0);
  t.equal(pauseMs(96, 250), 0);
  t.end();
});
