import fc from 'fast-check';
import { test } from 'tap';
import { dueOf, numberOf } from './round-robin.js';

void test('every record is one of exactly one connection, and due there when it is due', (t) => {
  const size = fc.integer({ min: 1, max: 40 });
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 2_000 }), size, size, (total, connections, recordsAWrite) => {
      const numbers = new Set<number>();
      for (let index = 0; index < connections; index++) {
        const due = dueOf(total, index, connections, recordsAWrite);
        for (let seq = 0; seq < due; seq++) numbers.add(numberOf(seq, index, connections, recordsAWrite));
      }
      return numbers.size === total && [...numbers].every((number) => number < total);
    }),
  );
  t.end();
});
