import { randomUUID } from 'node:crypto';
import fc from 'fast-check';
import { test } from 'tap';
import {
  decodeDataHeader,
  decodeHello,
  decodeQueueId,
  decodeStanding,
  encodeDataHeader,
  encodeHello,
  encodeQueueId,
  encodeRefused,
  encodeStanding,
  LinkType,
  QUEUE_ID_BYTES,
} from './links.js';

const position = fc.record({ epoch: fc.maxSafeNat(), offset: fc.maxSafeNat() }, { noNullPrototype: true });

void test('every frame of the edge link is read as it was written', (t) => {
  fc.assert(
    fc.property(fc.uuid(), position, fc.string({ unit: 'grapheme' }), fc.maxSafeNat(), (queueId, at, shard, credit) => {
      t.strictSame(decodeHello(encodeHello({ queueId, next: at, shard })), { queueId, next: at, shard });
      t.strictSame(decodeDataHeader(encodeDataHeader(at)), at);
      for (const type of [LinkType.welcome, LinkType.ack]) {
        const frame = encodeStanding(type, { stored: at, creditBytes: credit });
        t.equal(frame[0], type);
        t.strictSame(decodeStanding(frame), { stored: at, creditBytes: credit });
      }
    }),
  );
  const refused = encodeRefused('this router serves shard ä');
  t.equal(refused[0], LinkType.refused);
  t.equal(refused.toString('utf8', 1), 'this router serves shard ä');
  const id = randomUUID();
  t.equal(encodeQueueId(id).length, QUEUE_ID_BYTES);
  t.equal(decodeQueueId(Buffer.concat([Buffer.of(9), encodeQueueId(id)]), 1), id);
  t.end();
});

void test('frames that are cut off, too long or of another type are none', (t) => {
  const at = { epoch: 3, offset: 4 };
  const standing = encodeStanding(LinkType.ack, { stored: at, creditBytes: 5 });
  const data = encodeDataHeader(at);
  const hello = encodeHello({ queueId: randomUUID(), next: at, shard: '' });
  for (let bytes = 0; bytes < standing.length; bytes++) t.equal(decodeStanding(standing.subarray(0, bytes)), undefined);
  for (let bytes = 0; bytes < data.length; bytes++) t.equal(decodeDataHeader(data.subarray(0, bytes)), undefined);
  for (let bytes = 0; bytes < hello.length; bytes++) t.equal(decodeHello(hello.subarray(0, bytes)), undefined);
  t.equal(decodeStanding(Buffer.concat([standing, Buffer.of(0)])), undefined);
  t.equal(decodeDataHeader(Buffer.concat([data, Buffer.of(0)])), undefined);
  t.equal(decodeHello(encodeHello({ queueId: randomUUID(), next: at, shard: 'x'.repeat(129) })), undefined);
  t.equal(decodeDataHeader(hello), undefined);
  t.equal(decodeHello(data), undefined);
  for (const credit of [-1, Number.NaN]) {
    t.equal(decodeStanding(encodeStanding(LinkType.ack, { stored: at, creditBytes: credit })), undefined);
  }
  t.end();
});

void test('any bytes are read as a frame or as none, without a throw', (t) => {
  const bytes = fc
    .tuple(fc.nat(8), fc.uint8Array({ maxLength: 80 }))
    .map(([type, rest]) => Buffer.from([type, ...rest]));
  fc.assert(
    fc.property(fc.oneof(bytes, fc.constant(Buffer.of())), (frame) => {
      for (const decode of [decodeHello, decodeStanding, decodeDataHeader]) decode(frame);
    }),
    { numRuns: 2_000 },
  );
  t.end();
});
