import { deepStrictEqual, equal, ok } from 'node:assert/strict';
import fc from 'fast-check';
import mqttPacket, { type IPublishPacket } from 'mqtt-packet';
import { test } from 'tap';
import { mutated } from '../../../test/support/fuzz-frames.js';
import { PacketReader } from './packet-reader.js';
import { Publish } from './publish.js';
import { ProtocolError } from './reasons.js';

const text = fc.string({ minLength: 1, maxLength: 30, unit: fc.constantFrom('a', 'b', 'xyz', '/', '19') });
const properties = fc.record(
  {
    payloadFormatIndicator: fc.boolean(),
    messageExpiryInterval: fc.integer({ min: 1, max: 2 ** 31 }),
    topicAlias: fc.integer({ min: 1, max: 65_535 }),
    responseTopic: text,
    contentType: text,
    correlationData: fc.uint8Array({ minLength: 1, maxLength: 20 }).map((bytes) => Buffer.from(bytes)),
    userProperties: fc.record(
      { seq: fc.nat().map(String), time: fc.nat().map(String), other: text },
      { requiredKeys: ['other'] },
    ),
  },
  { requiredKeys: [] },
);

const packet: fc.Arbitrary<IPublishPacket> = fc.record({
  cmd: fc.constant('publish' as const),
  qos: fc.constantFrom(0 as const, 1 as const),
  dup: fc.constant(false),
  retain: fc.boolean(),
  topic: text,
  messageId: fc.integer({ min: 1, max: 65_535 }),
  payload: fc.uint8Array({ maxLength: 300 }).map((bytes) => Buffer.from(bytes)),
  properties,
});

function read(bytes: Buffer, version: 4 | 5): Publish | undefined {
  const reader = new PacketReader(1_000_000);
  reader.feed(bytes);
  if (!reader.next()) return undefined;
  const publish = new Publish();
  publish.read(bytes, bytes[0]!, reader.body, reader.end, version);
  return publish;
}

void test('a PUBLISH reads as what mqtt-packet wrote, in both versions', (t) => {
  fc.assert(
    fc.property(packet, fc.constantFrom(4 as const, 5 as const), (written, version) => {
      const bytes = mqttPacket.generate(written, { protocolVersion: version });
      const publish = read(bytes, version)!;
      equal(publish.qos, written.qos);
      equal(publish.isRetained, written.retain);
      equal(bytes.toString('latin1', publish.topicStart, publish.topicEnd), written.topic);
      equal(publish.packetId, written.qos === 0 ? 0 : written.messageId);
      deepStrictEqual(bytes.subarray(publish.payloadStart, publish.payloadEnd), written.payload);
      const wanted = version === 5 ? written.properties : undefined;
      equal(publish.topicAlias, wanted?.topicAlias ?? 0);
      equal(publish.seqText, wanted?.userProperties?.['seq']);
      equal(publish.timeText, wanted?.userProperties?.['time']);
    }),
    { numRuns: 1_000 },
  );
  t.end();
});

void test('a damaged PUBLISH is read as mqtt-packet reads it, or refused; it never reads outside itself', (t) => {
  let good = 0;
  let refused = 0;
  const good5 = packet.map((written) => mqttPacket.generate(written, { protocolVersion: 5 }));
  fc.assert(
    fc.property(mutated(good5), (damaged) => {
      // Whole, whatever its length says.
      const body = damaged.subarray(2, 120);
      const bytes = Buffer.concat([Buffer.of(0x30 | (damaged[0]! & 15), body.length), body]);
      let publish: Publish;
      try {
        publish = read(bytes, 5)!;
      } catch (error) {
        ok(error instanceof ProtocolError);
        refused++;
        return;
      }
      good++;
      ok(publish.topicStart <= publish.topicEnd && publish.topicEnd <= publish.payloadStart);
      ok(publish.payloadStart <= publish.payloadEnd && publish.payloadEnd === bytes.length);
      const parser = mqttPacket.parser({ protocolVersion: 5 });
      parser.on('packet', (theirs) => {
        equal((theirs as IPublishPacket).payload.length, publish.payloadEnd - publish.payloadStart);
        equal((theirs as IPublishPacket).messageId ?? 0, publish.packetId);
      });
      parser.on('error', () => undefined);
      parser.parse(bytes);
    }),
    { numRuns: 2_000 },
  );
  t.ok(good > 100 && refused > 100, `${good} good, ${refused} refused`);
  t.end();
});

void test('packets are cut out of a stream however it is cut into chunks, and little is held', (t) => {
  fc.assert(
    fc.property(
      fc.array(packet, { minLength: 1, maxLength: 20 }),
      fc.array(fc.integer({ min: 1, max: 400 }), { minLength: 1 }),
      (written, cuts) => {
        const whole = written.map((each) => mqttPacket.generate(each, { protocolVersion: 4 }));
        const stream = Buffer.concat(whole);
        const reader = new PacketReader(1_000);
        const found: Buffer[] = [];
        for (let at = 0, cut = 0; at < stream.length; cut++) {
          const size = cuts[cut % cuts.length]!;
          // A chunk that is not ours to hold: it is wiped once it was read.
          const chunk = Buffer.from(stream.subarray(at, at + size));
          reader.feed(chunk);
          while (reader.next()) found.push(Buffer.from(reader.bytes.subarray(reader.start, reader.end)));
          reader.keep();
          chunk.fill(0xff);
          ok(reader.waitingBytes < 1_000);
          ok(reader.bytes.length <= 4 * (1_000 + 400));
          at += size;
        }
        deepStrictEqual(found, whole);
      },
    ),
    { numRuns: 300 },
  );
  t.end();
});

void test('a packet that comes byte by byte costs a few copies of each byte, and one that is too long is refused', (t) => {
  const reader = new PacketReader(300_000);
  const bytes = mqttPacket.generate({
    ...{ cmd: 'publish', qos: 0, dup: false, retain: false, topic: 'a' },
    payload: Buffer.alloc(250_000),
  });
  for (const byte of bytes) {
    reader.feed(Buffer.of(byte));
    if (reader.next()) break;
    reader.keep();
  }
  t.equal(reader.end - reader.start, bytes.length);
  const short = new PacketReader(100);
  short.feed(Buffer.of(0x30, 0x80, 0x01));
  t.throws(() => short.next(), /a packet has 131 bytes; the limit is 100/);
  const endless = new PacketReader(100);
  endless.feed(Buffer.of(0x30, 0xff, 0xff, 0xff, 0xff, 0xff));
  t.throws(() => endless.next(), /length of a packet is malformed/);
  t.end();
});
