import fc from 'fast-check';
import { test } from 'tap';
import { binaryShape } from './device-frames.js';
import { OneFrame } from './one-frame.js';
import { RecordBlock } from './record-block.js';

const CAPACITY = 400;

void test('a write of any number of records is the frame of that number', (t) => {
  const fill = fc.record({ firstSeq: fc.integer({ min: 1 }), count: fc.integer({ min: 1, max: CAPACITY }) });
  // Headers have 6, 8 or 14 bytes.
  const payloadBytes = fc.constantFrom(50, 200, 300);
  fc.assert(
    fc.property(payloadBytes, fc.array(fill, { minLength: 1, maxLength: 10 }), (bytes, fills) => {
      const frame = new OneFrame(bytes, CAPACITY);
      return fills.every(({ firstSeq, count }) => {
        const expected = new RecordBlock(binaryShape(bytes, count), count).fill(firstSeq, count);
        return frame.fill(firstSeq, count).equals(expected);
      });
    }),
  );
  t.end();
});

void test('what was filled stays as it is when new memory is taken', (t) => {
  const frame = new OneFrame(200, CAPACITY);
  const bytes = frame.fill(1, 3);
  const before = Buffer.from(bytes);
  frame.renew();
  frame.fill(1_000, 3);
  t.same(bytes, before);
  t.end();
});
