import fc from 'fast-check';
import { test } from 'tap';
import {
  decodeReply,
  decodeRequest,
  encodeAttach,
  encodeAttached,
  encodeConsumerAck,
  encodeConsumerRefused,
  encodeFetch,
  encodeFetched,
  encodePublished,
  MAX_FETCH_BYTES,
} from './consumer-frames.js';
import { POSITION_BYTES, readPosition } from './position.js';

const position = fc.record({ epoch: fc.maxSafeNat(), offset: fc.maxSafeNat() }, { noNullPrototype: true });
const request = fc.nat(0xffff_ffff);

void test('every frame of the consumer link is read as it was written', (t) => {
  fc.assert(
    fc.property(
      position,
      position,
      request,
      fc.nat(MAX_FETCH_BYTES),
      fc.string(),
      fc.uuid(),
      (a, b, id, bytes, text, uuid) => {
        t.strictSame(decodeRequest(encodeAttach(text)), { type: 'attach', name: text });
        const fetch = { request: id, after: a, maxBytes: bytes };
        t.strictSame(decodeRequest(encodeFetch(fetch)), { type: 'fetch', ...fetch });
        t.strictSame(decodeRequest(encodeConsumerAck(a)), { type: 'ack', position: a });
        const attached = { queueId: uuid, cursor: a, head: b };
        t.strictSame(decodeReply(encodeAttached(attached)), { type: 'attached', ...attached });
        const fetched = { request: id, through: a, head: b };
        t.strictSame(decodeReply(encodeFetched(fetched)), { type: 'fetched', ...fetched });
        t.strictSame(decodeReply(encodeConsumerRefused(text)), { type: 'refused', reason: text });
        const published = encodePublished(a, b);
        t.strictSame([readPosition(published, 0), readPosition(published, POSITION_BYTES)], [a, b]);
      },
    ),
  );
  t.end();
});

void test('nobody fetches more than the limit', (t) => {
  const after = { epoch: 1, offset: 1 };
  const frame = encodeFetch({ request: 1, after, maxBytes: 0xffff_ffff });
  t.match(decodeRequest(frame), { type: 'fetch', maxBytes: MAX_FETCH_BYTES });
  t.end();
});

void test('frames that are cut off or too long are none', (t) => {
  const at = { epoch: 3, offset: 4 };
  const queueId = '5a0f2b34-1111-4222-8333-444455556666';
  const requests = [encodeFetch({ request: 1, after: at, maxBytes: 9 }), encodeConsumerAck(at)];
  const replies = [
    encodeAttached({ queueId, cursor: at, head: at }),
    encodeFetched({ request: 1, through: at, head: at }),
  ];
  for (const [frames, decode] of [
    [requests, decodeRequest],
    [replies, decodeReply],
  ] as const) {
    for (const frame of frames) {
      for (let bytes = 0; bytes < frame.length; bytes++) t.equal(decode(frame.subarray(0, bytes)), undefined);
      t.equal(decode(Buffer.concat([frame, Buffer.of(0)])), undefined);
    }
  }
  t.equal(decodeRequest(encodeAttach('x'.repeat(129))), undefined);
  t.end();
});

void test('any bytes are read as a frame or as none, without a throw', (t) => {
  const bytes = fc
    .tuple(fc.nat(8), fc.uint8Array({ maxLength: 80 }))
    .map(([type, rest]) => Buffer.from([type, ...rest]));
  fc.assert(
    fc.property(fc.oneof(bytes, fc.constant(Buffer.of())), (frame) => {
      decodeRequest(frame);
      decodeReply(frame);
    }),
    { numRuns: 2_000 },
  );
  t.end();
});
