import fc from 'fast-check';
import { test } from 'tap';
import { ackedRecords, DeviceLedger, joinLedgers, makeLedger } from './ledger.js';

void test('a ledger names the acked records and no other, in as few ranges as there are', (t) => {
  const property = fc.property(
    fc.array(fc.integer({ min: 1, max: 60 }), { maxLength: 60 }),
    fc.nat(60),
    (exceptions, through) => {
      const ledger = new DeviceLedger();
      for (const seq of exceptions) ledger.except(seq);
      ledger.ackedThrough = through;
      const ranges = ledger.acked();
      const named = ranges.flatMap(({ first, last }) => Array.from({ length: last - first + 1 }, (_, i) => first + i));
      const expected = Array.from({ length: through }, (_, i) => i + 1).filter((seq) => !exceptions.includes(seq));
      const isApart = ranges.every(({ first }, index) => index === 0 || ranges[index - 1]!.last + 1 < first);
      const counted = through - ledger.exceptions(1, through);
      return JSON.stringify(named) === JSON.stringify(expected) && isApart && counted === expected.length;
    },
  );
  fc.assert(property, { numRuns: 500 });
  t.end();
});

void test("ledgers of several processes make a fleet's", (t) => {
  const one = new DeviceLedger();
  one.ackedThrough = 5;
  one.except(3);
  const two = new DeviceLedger();
  two.ackedThrough = 2;
  const ledger = joinLedgers([
    makeLedger([[0, one]]),
    makeLedger([
      [7, two],
      [8, new DeviceLedger()],
    ]),
  ]);
  t.strictSame(ledger, { devices: [0, 0, 7], firsts: [1, 4, 1], lasts: [2, 5, 2] });
  t.equal(ackedRecords(ledger), 6);
  t.end();
});
