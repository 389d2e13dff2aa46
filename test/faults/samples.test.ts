/** Slopes: one that is there is told from what only goes up and down. */
import { test } from 'tap';
import { memoryOf, Series, type Reduction } from './samples.js';
import { randomFrom } from './random.js';

const HOUR_MS = 3_600_000;

/** An hour of memory that rises by `height` and falls again, over and over, some noise, and a leak. */
function saw(height: number, periodMs: number, leakPerHour: number, seed: number, reduction: Reduction): Series {
  const random = randomFrom(seed);
  const series = new Series('MiB', reduction);
  const offsetMs = random() * periodMs;
  for (let atMs = 0; atMs < HOUR_MS; atMs += 2_500) {
    const up = (height * ((atMs + offsetMs) % periodMs)) / periodMs;
    series.add(atMs, 100 + up + 4 * random() + (leakPerHour * atMs) / HOUR_MS);
  }
  return series;
}

void test('a leak of 10 MiB an hour is told from noise, and from a heap that rises for minutes by its least', (t) => {
  for (let seed = 1; seed <= 20; seed++) {
    for (const [height, periodMs, reduction] of [
      [20, 27_000, 'mean'],
      [30, 240_000, 'least'],
    ] as const) {
      const leak = saw(height, periodMs, 10, seed, reduction).slopeSince(HOUR_MS / 2);
      t.ok(leak.perHour - leak.error > 0, `seed ${seed}, ${reduction}: ${leak.perHour} ± ${leak.error}`);
      t.ok(Math.abs(leak.perHour - 10) < 6, 'it is as large as it is');
    }
  }
  t.end();
});

void test('a heap that rises for minutes has a slope, and an interval that says how little it means', (t) => {
  let sure = 0;
  for (let seed = 1; seed <= 100; seed++) {
    const { perHour, error } = saw(30, 240_000, 0, seed, 'mean').slopeSince(HOUR_MS / 2);
    if (Math.abs(perHour) > error) sure++;
  }
  t.ok(sure <= 10, `${sure} of 100 look like a leak`);
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
