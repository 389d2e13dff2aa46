import fc from 'fast-check';
import t from 'tap';
import { AssignedSeqs } from './assigned-seq.js';

void t.test('assigned seqs rise and are safe integers, whatever the clock does', (t) => {
  const clock = fc.array(fc.integer({ min: 0, max: 9_000_000_000_000 }), { minLength: 1, maxLength: 50 });
  fc.assert(
    fc.property(clock, (times) => {
      const seqs = new AssignedSeqs();
      let last = 0;
      for (const nowMs of times.flatMap((each) => [each, each, each])) {
        const seq = seqs.next(nowMs);
        if (!Number.isSafeInteger(seq) || seq <= last) return false;
        last = seq;
      }
      return true;
    }),
  );
  t.end();
});

void t.test('assigned seqs follow the clock, so that a restarted edge goes on above the one before', (t) => {
  const nowMs = Date.UTC(2026, 10, 21);
  const before = new AssignedSeqs();
  for (let count = 0; count < 999; count++) before.next(nowMs);
  const after = new AssignedSeqs();
  t.ok(after.next(nowMs + 1) > before.next(nowMs));
  t.end();
});
