/** Slopes: one that is there is told from what only goes up and down. */
import { test } from 'tap';
import { memoryOf, Series } from './samples.js';
import { randomFrom } from './random.js';

const HOUR_MS = 3_600_000;

/** An hour of memory that V8 makes rise and fall by 20 MiB twice a minute, some noise, and a leak. */
function saw(leakPerHour: number, seed: number): Series {
  const random = randomFrom(seed);
  const series = new Series('MiB');
  for (let atMs = 0; atMs < HOUR_MS; atMs += 2_500) {
    const up = (20 * (atMs % 27_000)) / 27_000;
    series.add(atMs, 100 + up + 4 * random() + (leakPerHour * atMs) / HOUR_MS);
  }
  return series;
}

void test('a leak of 10 MiB an hour is told from noise, and noise is no leak', (t) => {
  for (let seed = 1; seed <= 20; seed++) {
    const leak = saw(10, seed).slopeSince(HOUR_MS / 2);
    t.ok(leak.perHour - leak.error > 0 && Math.abs(leak.perHour - 10) < 5, `seed ${seed}: ${leak.perHour} ± ${leak.error}`);
    t.ok(leak.error < 5, 'the interval is narrow enough to say so');
    const flat = saw(0, seed).slopeSince(HOUR_MS / 2);
    t.ok(Math.abs(flat.perHour) < 5, `seed ${seed}: ${flat.perHour} ± ${flat.error} without one`);
  }
  t.end();
});

void test('a straight line has its own slope and no error, and a few points have none', (t) => {
  const series = new Series('records');
  series.add(0, Number.NaN);
  t.match(series.rowSince(0), / – \|$/);
  for (let index = 0; index < 100; index++) series.add(index * 1_000, index);
  const { perHour, error } = series.slopeSince(0);
  t.ok(Math.abs(perHour - 3_600) < 1e-6 && error < 1e-6);
  t.equal(series.points.length, 100, 'what is no number is no sample');
  t.end();
});

void test('memory that a process makes is told from files that it maps', (t) => {
  const before = memoryOf(process.pid).anonymous;
  const made = Buffer.alloc(32 * 2 ** 20, 1);
  t.ok(memoryOf(process.pid).anonymous > before + 30, `${made.length} bytes more`);
  t.ok(memoryOf(process.pid).files > 1);
  t.same(memoryOf(2 ** 22 + 1), { anonymous: Number.NaN, files: Number.NaN });
  t.end();
});
