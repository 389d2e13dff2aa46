import { test } from 'tap';
import type { Delivery } from '../../shared/consumer.js';
import { MemorySource, makeBatch } from '../../test/support/deliveries.js';
import { MergeReader } from './merge.js';

const LIMITS = { rows: 100, bytes: 2 ** 20, waitMs: 60_000 };

/** A batch of `records` records of `payloadBytes` bytes each. */
function batch(epoch: number, offset: number, records: number, payloadBytes = 2): Buffer {
  const payload = `"${'x'.repeat(payloadBytes - 2)}"`;
  const list = Array.from({ length: records }, (_, index) => ({ device: 'a', seq: index, timeMs: 0, payload }));
  return makeBatch({ epoch, offset }, list);
}

void test('deliveries are merged until there are rows enough', async (t) => {
  const source = new MemorySource('q');
  const reader = new MergeReader(source, LIMITS, () => undefined);
  for (let offset = 1; offset <= 6; offset++) source.push(batch(1, offset, 40));
  t.match(await reader.next(), {
    queueId: 'q',
    records: 120,
    through: { epoch: 1, offset: 3 },
    batches: { length: 3 },
  });
  t.match(await reader.next(), { records: 120, through: { epoch: 1, offset: 6 } });
  source.close();
  t.equal(await reader.next(), undefined);
});

void test('deliveries are merged until there are bytes enough', async (t) => {
  const source = new MemorySource('q');
  const reader = new MergeReader(source, LIMITS, () => undefined);
  for (let offset = 1; offset <= 8; offset++) source.push(batch(1, offset, 1, 200_000));
  t.match(await reader.next(), { records: 6, through: { offset: 6 } });
});

void test('a merge does not wait longer than it should, and what comes too late is the next', async (t) => {
  const source = new MemorySource('q');
  const reader = new MergeReader(source, { ...LIMITS, waitMs: 20 }, () => undefined);
  source.push(batch(1, 1, 10));
  t.match(await reader.next(), { records: 10, through: { offset: 1 } });
  source.push(batch(1, 2, 10));
  t.match(await reader.next(), { records: 10, through: { offset: 2 } });
});

void test('the end of the source ends a merge, not loses it', async (t) => {
  const source = new MemorySource('q');
  const reader = new MergeReader(source, LIMITS, () => undefined);
  source.push(batch(1, 1, 10));
  source.close();
  t.match(await reader.next(), { records: 10 });
  t.equal(await reader.next(), undefined);
});

void test('batches that were read before, or are stored, are left out; a new epoch is not', async (t) => {
  const source = new MemorySource('q');
  const reader = new MergeReader(source, { ...LIMITS, rows: 1 }, () => ({ epoch: 1, offset: 2 }));
  source.push(batch(1, 1, 10), batch(1, 2, 10));
  source.push(batch(1, 2, 10), batch(1, 3, 5));
  t.match(await reader.next(), { records: 5, through: { epoch: 1, offset: 3 } });
  source.push(batch(1, 3, 5));
  source.push(batch(2, 1, 7));
  t.match(await reader.next(), { records: 7, through: { epoch: 2, offset: 1 } });
});

void test('a merge holds batches of one queue only', async (t) => {
  const deliveries: Delivery[] = ['q', 'q', 'other'].map((queueId, index) => ({
    queueId,
    batches: [batch(1, index + 1, 10)],
    through: { epoch: 1, offset: index + 1 },
  }));
  const source = { read: () => Promise.resolve(deliveries.shift()), ack: () => undefined };
  const reader = new MergeReader(source, LIMITS, () => undefined);
  t.match(await reader.next(), { queueId: 'q', records: 20 });
  t.match(await reader.next(), { queueId: 'other', records: 10 });
  t.equal(await reader.next(), undefined);
});
