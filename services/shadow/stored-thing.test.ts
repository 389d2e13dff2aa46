import fc from 'fast-check';
import { test } from 'tap';
import { HoldfastError } from '../../shared/errors.js';
import { boundOf, listed, valueOf, writeStored } from './stored-thing.js';

const text = fc.option(fc.string({ unit: 'grapheme' }), { nil: null });
const writes = fc.record({
  thing: fc.constant('press-1'),
  value: fc.uint8Array().map((bytes) => Buffer.from(bytes)),
  entry: fc.record({ connected: fc.boolean(), type: text, site: text }, { noNullPrototype: true }),
});

void test('a thing comes back as it was stored, and takes no more than was said', (t) => {
  fc.assert(
    fc.property(writes, fc.nat(20), (write, at) => {
      const buffer = Buffer.alloc(at + boundOf(write) + 1, 0xee);
      const end = writeStored(buffer, at, write);
      const stored = buffer.subarray(at, end);
      t.ok(end <= at + boundOf(write));
      t.equal(buffer[end], 0xee, 'nothing is written behind it');
      t.strictSame(listed('press-1', stored), { thing: 'press-1', entry: write.entry });
      t.ok(valueOf('press-1', stored).equals(write.value));
    }),
  );
  t.end();
});

void test('what the list of Redis cuts off is enough for a list', (t) => {
  const write = { thing: 'a', value: Buffer.from('value'), entry: { connected: true, type: 'press', site: 'é' } };
  const buffer = Buffer.alloc(boundOf(write));
  const stored = buffer.subarray(0, writeStored(buffer, 0, write));
  t.strictSame(listed('a', stored.subarray(0, stored.length - 5)), { thing: 'a', entry: write.entry });
  t.throws(() => listed('a', stored.subarray(0, stored.length - 6)), { code: 'store', retry: false });
  t.end();
});

void test('bytes that are no thing are an error that names it, never something else', (t) => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 40 }), (bytes) => {
      for (const read of [listed, valueOf]) {
        try {
          read('press-1', Buffer.from(bytes));
        } catch (error) {
          t.ok(error instanceof HoldfastError && error.message.includes('press-1'), String(error));
        }
      }
    }),
    { numRuns: 1_000 },
  );
  t.end();
});
