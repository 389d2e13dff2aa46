import fc from 'fast-check';
import { test } from 'tap';
import { AckClock } from './ack-clock.js';
import { Histogram } from './histogram.js';

const latencies = fc.array(fc.double({ min: 0.011, max: 500_000, noNaN: true }), { minLength: 1, maxLength: 200 });

void test('a percentile is at least the true one, and at most 4.5 % over it', (t) => {
  const property = fc.property(latencies, fc.double({ min: 0, max: 1, noNaN: true }), (values, share) => {
    const histogram = new Histogram();
    for (const value of values) histogram.add(value);
    const sorted = [...values].sort((a, b) => a - b);
    const truth = sorted[Math.max(1, Math.ceil(share * sorted.length)) - 1]!;
    const found = histogram.percentile(share)!;
    return found >= truth * (1 - 1e-9) && found <= truth * 1.045;
  });
  fc.assert(property, { numRuns: 500 });
  t.end();
});

void test('histograms that are sent in parts and merged are as one that saw everything', (t) => {
  const property = fc.property(fc.array(latencies, { maxLength: 5 }), (parts) => {
    const whole = new Histogram();
    const part = new Histogram();
    const merged = new Histogram();
    for (const values of parts) {
      for (const value of values) {
        whole.add(value);
        part.add(value);
      }
      merged.merge(part.take());
      if (part.total !== 0) return false;
    }
    return whole.total === merged.total && JSON.stringify(whole.take()) === JSON.stringify(merged.take());
  });
  fc.assert(property, { numRuns: 100 });
  t.end();
});

void test('nothing has no percentile, and what is out of bounds is in the first or the last bucket', (t) => {
  const histogram = new Histogram();
  t.equal(histogram.percentile(0.5), undefined);
  histogram.add(0);
  t.equal(histogram.percentile(1), 0.01);
  histogram.add(1e12);
  t.ok(histogram.percentile(1)! > 600_000);
  t.end();
});

void test('every record of an ack counts from when its run was sent', (t) => {
  const histogram = new Histogram();
  const clock = new AckClock(histogram);
  clock.reset(10);
  clock.sent(20, 1_000);
  clock.sent(21, 1_500);
  clock.acked(15, 1_010);
  t.equal(histogram.total, 5);
  t.ok(Math.abs(histogram.percentile(1)! - 10) < 0.5);
  histogram.take();
  clock.acked(21, 2_000);
  t.equal(histogram.total, 6);
  t.ok(Math.abs(histogram.percentile(0)! - 500) < 25);
  t.ok(Math.abs(histogram.percentile(1)! - 1_000) < 50);
  clock.acked(21, 9_000);
  t.equal(histogram.total, 6);
  clock.reset(21);
  clock.sent(22, 3_000);
  clock.acked(22, 3_001);
  t.equal(histogram.total, 7);
  t.end();
});
