/** A soak of seconds: that the runner works. `npm run faults` is the real one. */
import { test } from 'tap';
import { scheduleOf } from './schedule.js';
import { soak } from './soak.js';

const SEED = 20_261_121;

void test('the same seed gives the same schedule, and another seed another', (t) => {
  const schedule = scheduleOf(SEED, 3_600_000, 20_000);
  t.same(scheduleOf(SEED, 3_600_000, 20_000), schedule);
  t.notSame(scheduleOf(SEED + 1, 3_600_000, 20_000), schedule);
  t.equal(schedule.length, 179);
  t.ok(new Set(schedule.map(({ fault }) => fault)).size >= 9, 'all kinds of faults come');
  const kills = schedule.filter(({ fault }) => /^kill (edge|router|storage)$/.test(fault));
  t.ok(kills.length > 0 && kills.every(({ atMs }) => atMs < 1_200_000), 'services are killed in the first third alone');
  t.end();
});

void test('under load and faults nothing acked is lost or doubled', async (t) => {
  const options = { lengthMs: 5_000, intervalMs: 2_000, seed: SEED, devices: 10, calibrateMs: 3_000 };
  const { outcome, rows, series } = await soak(options, () => undefined);
  t.same(outcome.lines, []);
  t.equal(outcome.tries, 2);
  // Where the machine is slow no record that is timed may have been acked yet: then there is no latency.
  t.ok(rows.length >= 25, 'everything that must not grow was looked at');
  for (const name of ['edge', 'router', 'storage']) {
    const { points } = series.get(`MiB that malloc has given out in the ${name}, least of 5 min`)!;
    t.ok(
      points.length > 0 && points.every(({ value }) => value > 1),
      `malloc in the ${name} tells what it has given out`,
    );
  }
});
