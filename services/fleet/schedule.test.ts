import fc from 'fast-check';
import { test } from 'tap';
import { firstDue, Schedule, startOf } from './schedule.js';

void test('every device makes its records when they are due: none early, none twice, none left out', (t) => {
  const property = fc.property(
    fc.integer({ min: 1, max: 30 }),
    fc.integer({ min: 1, max: 2_000 }),
    fc.integer({ min: 0, max: 5_000 }),
    fc.array(fc.nat(3_000), { minLength: 1, maxLength: 10 }),
    (count, intervalMs, rampMs, steps) => {
      const items = Array.from({ length: count }, (_, item) => ({
        item,
        firstMs: firstDue(item, count, rampMs, intervalMs),
      }));
      const schedule = new Schedule(items, intervalMs);
      const made = items.map(() => 0);
      let nowMs = 0;
      for (const step of steps) {
        nowMs += step;
        schedule.run(nowMs, (item) => made[item]!++);
        const isRight = items.every(({ item, firstMs }) => {
          const due = nowMs < firstMs ? 0 : Math.floor((nowMs - firstMs) / intervalMs) + 1;
          return made[item] === due;
        });
        if (!isRight) return false;
      }
      return items.every(({ item, firstMs }) => {
        const start = startOf(item, count, rampMs);
        return firstMs >= start && firstMs < start + intervalMs;
      });
    },
  );
  fc.assert(property, { numRuns: 300 });
  t.end();
});

void test('the load of many devices is even', (t) => {
  const count = 1_000;
  const perTenth = Array.from({ length: 10 }, () => 0);
  for (let index = 0; index < count; index++) perTenth[Math.floor(firstDue(index, count, 0, 1_000) / 100)]!++;
  t.ok(
    perTenth.every((devices) => devices >= 95 && devices <= 105),
    JSON.stringify(perTenth),
  );
  t.end();
});
