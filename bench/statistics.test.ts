import fc from 'fast-check';
import { test } from 'tap';
import { Samples, median, percentile, summarize } from './statistics.js';

void test('the median is the middle one, or the mean of the two in the middle', (t) => {
  t.equal(median([7]), 7);
  t.equal(median([9, 1, 5]), 5);
  t.equal(median([10, 1, 2, 4]), 3);
  t.end();
});

void test('a summary tells the extremes and the spread between them', (t) => {
  t.same(summarize([110, 90, 100]), { median: 100, least: 90, greatest: 110, spread: 0.2 });
  t.same(summarize([0, 0]), { median: 0, least: 0, greatest: 0, spread: 0 });
  t.end();
});

void test('what is no measurement is refused', (t) => {
  t.throws(() => summarize([]), { message: 'nothing was measured' });
  t.throws(() => summarize([1, Number.NaN]), /not a measurement/);
  t.throws(() => summarize([1, Number.POSITIVE_INFINITY]), /not a measurement/);
  t.throws(() => percentile(new Float64Array(0), 0.5), /no samples/);
  t.throws(() => percentile(Float64Array.of(1), 0), /not a share/);
  t.throws(() => percentile(Float64Array.of(1), 1.01), /not a share/);
  t.end();
});

void test('a percentile is a sample that has at least its share of the samples at or under it, and no lesser one has', (t) => {
  const values = fc.array(fc.double({ noNaN: true, noDefaultInfinity: true }), { minLength: 1, maxLength: 200 });
  fc.assert(
    fc.property(values, fc.double({ min: 0.001, max: 1, noNaN: true }), (list, share) => {
      const sorted = Float64Array.from(list).sort();
      const found = percentile(sorted, share);
      const atOrUnder = list.filter((value) => value <= found).length;
      const under = list.filter((value) => value < found).length;
      return list.includes(found) && atOrUnder >= share * list.length && under < share * list.length;
    }),
  );
  t.end();
});

void test('the percentiles of 1 to 100 are what everybody expects', (t) => {
  const sorted = Float64Array.from({ length: 100 }, (_, i) => i + 1);
  t.equal(percentile(sorted, 0.5), 50);
  t.equal(percentile(sorted, 0.99), 99);
  t.equal(percentile(sorted, 1), 100);
  t.end();
});

void test('samples are sorted by number, and more than fit are an error', (t) => {
  const samples = new Samples(3);
  for (const value of [10, 9, 100]) samples.add(value);
  t.same([...samples.sorted()], [9, 10, 100]);
  t.equal(samples.length, 3);
  t.throws(() => samples.add(1), /more than 3 samples/);
  t.end();
});
