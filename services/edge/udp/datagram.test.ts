import { ok, strictEqual } from 'node:assert/strict';
import fc from 'fast-check';
import { test } from 'tap';
import { mutated } from '../../../test/support/fuzz-frames.js';
import { udpDatagram } from '../../../test/support/udp-device.js';
import { encodeAck, encodeError, ERROR_CODES, isGenuine, MAX_DATAGRAM_BYTES, readDatagram } from './datagram.js';

const deviceId = fc.stringMatching(/^[A-Za-z0-9][A-Za-z0-9._:-]{0,127}$/);
const records = fc.uint8Array({ minLength: 25, maxLength: 1_000 });
const key = fc.string({ maxLength: 50 });

void test('a datagram reads as the parts that it was made of, and with its own key alone', (t) => {
  fc.assert(
    fc.property(deviceId, records, key, key, (id, bytes, right, wrong) => {
      const datagram = udpDatagram(id, bytes, right);
      const read = readDatagram(datagram);
      ok(typeof read === 'object');
      strictEqual(read.deviceId, id);
      ok(datagram.subarray(read.recordsAt, read.hmacAt).equals(bytes));
      ok(isGenuine(datagram, read.hmacAt, right));
      // HMAC pads a key with zeros: keys that differ in those alone are the same.
      const isSame = wrong.replace(/\0+$/, '') === right.replace(/\0+$/, '');
      strictEqual(isGenuine(datagram, read.hmacAt, wrong), isSame);
    }),
  );
  t.end();
});

void test('a datagram that was damaged anywhere is refused, and none ends the reader', (t) => {
  const good = fc.tuple(deviceId, records).map(([id, bytes]) => udpDatagram(id, bytes, 'key'));
  let genuine = 0;
  fc.assert(
    fc.property(mutated(good), (bytes) => {
      const read = readDatagram(bytes);
      if (typeof read === 'string') return;
      ok(read.hmacAt - read.recordsAt >= 25 && read.recordsAt > 5);
      if (!isGenuine(bytes, read.hmacAt, 'key')) return;
      genuine++;
      ok(
        udpDatagram(read.deviceId, bytes.subarray(read.recordsAt, read.hmacAt), 'key').equals(bytes),
        'it is undamaged',
      );
    }),
    { numRuns: 2_000 },
  );
  t.ok(genuine > 10, `${genuine} were undamaged`);
  for (let length = 0; length < 47; length++)
    t.equal(readDatagram(udpDatagram('a', Buffer.alloc(100), '').subarray(0, length)), 'malformed');
  t.equal(readDatagram(Buffer.alloc(MAX_DATAGRAM_BYTES + 1)), 'too_long');
  t.end();
});

void test('an answer is shorter than the shortest datagram of the same device', (t) => {
  fc.assert(
    fc.property(deviceId, (id) => {
      const shortest = udpDatagram(id, Buffer.alloc(25), 'key');
      ok(typeof readDatagram(shortest) === 'object');
      strictEqual(readDatagram(udpDatagram(id, Buffer.alloc(24), 'key')), 'malformed');
      const idBytes = Buffer.from(id);
      ok(encodeAck(idBytes, { first: 1, last: 2 ** 53 - 1, bitmap: 2 ** 32 - 1 }, 'key').length < shortest.length);
      for (const code of ERROR_CODES) ok(encodeError(idBytes, 1, code, 'key').length < shortest.length);
    }),
  );
  t.end();
});
