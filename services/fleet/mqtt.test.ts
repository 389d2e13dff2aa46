import { once } from 'node:events';
import { createServer, type Socket } from 'node:net';
import type { AddressInfo } from 'node:net';
import fc from 'fast-check';
import mqttPacket, { type IConnectPacket, type IPublishPacket, type Packet } from 'mqtt-packet';
import { test, type Test } from 'tap';
import { HoldfastError } from '../../shared/errors.js';
import {
  FLEET_FIRST_TIME_MS,
  FLEET_INTERVAL_MS,
  fleetDevice,
  produce,
  type FleetBench,
} from '../../test/support/fleet-device.js';
import { until } from '../../test/support/processes.js';
import { PUBLISH_HEAD_BYTES, readPackets, readPuback, writePublishHead } from './mqtt-packets.js';

const VERSION = { protocolVersion: 5 } as const;

interface Publish {
  readonly topic: string;
  readonly packetId: number;
  readonly seqs: readonly number[];
  readonly times: readonly number[];
}

interface Bench extends FleetBench {
  readonly connects: IConnectPacket[];
  readonly publishes: Publish[];
}

/** What an edge answers. */
interface Script {
  readonly connack?: (connects: number) => Packet;
  readonly answer?: (publish: Publish, bench: Bench) => Packet | undefined;
}

const WELCOME: Packet = { cmd: 'connack', reasonCode: 0, sessionPresent: false, properties: { receiveMaximum: 4 } };

function puback({ packetId }: Publish, reasonCode = 0): Packet {
  return { cmd: 'puback', messageId: packetId, reasonCode };
}

/** A device, and an edge of mqtt-packet that answers as a test says. */
async function makeDevice(
  t: Test,
  { connack = () => WELCOME, answer = (each) => puback(each) }: Script,
): Promise<Bench> {
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on('error', () => undefined);
    const parser = mqttPacket.parser(VERSION);
    socket.on('data', (chunk) => parser.parse(chunk));
    parser.on('packet', (packet) => {
      const reply = replyTo(packet);
      if (reply !== undefined) socket.write(mqttPacket.generate(reply, VERSION));
    });
  });
  const replyTo = (packet: Packet): Packet | undefined => {
    if (packet.cmd === 'connect') {
      bench.connects.push(packet);
      return connack(bench.connects.length);
    }
    if (packet.cmd !== 'publish') return undefined;
    const publish = publishOf(packet);
    bench.publishes.push(publish);
    return answer(publish, bench);
  };
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const dialer = {
    edge: { host: '127.0.0.1', port, name: '127.0.0.1', isSecure: false },
    protocol: 'mqtt',
    payloadBytes: 100,
  } as const;
  const made = fleetDevice(t, { dialer, bufferRecords: 2_000, token: 'right' }, async () => {
    const closed = once(server, 'close');
    server.close();
    for (const socket of sockets) socket.destroy();
    await closed;
  });
  const bench: Bench = { connects: [], publishes: [], ...made };
  return bench;
}

function publishOf({ topic, messageId, payload, qos }: IPublishPacket): Publish {
  if (qos !== 1) throw new Error(`QoS ${qos}`);
  const value = JSON.parse(payload.toString()) as { seq: number; time: number };
  const records = Array.isArray(value) ? (value as (typeof value)[]) : [value];
  const seqs = records.map(({ seq }) => seq);
  return { topic, packetId: messageId!, seqs, times: records.map(({ time }) => time) };
}

void test('a device says who it is, and its records arrive once, in order, with their times', async (t) => {
  const { device, counters, connects, publishes } = await makeDevice(t, {});
  produce(device, 3);
  device.connect(true);
  await until(() => counters.acked === 3);
  for (let made = 4; made <= 50; made++) produce(device, 1);
  await until(() => counters.acked === 50);
  t.match(connects[0], { protocolVersion: 5, clientId: 'fleet-test-1', username: 'fleet-test-1', clean: true });
  t.equal(connects[0]?.password?.toString(), 'right');
  t.strictSame(
    publishes.flatMap(({ seqs }) => seqs),
    Array.from({ length: 50 }, (_, index) => index + 1),
  );
  t.ok(publishes.every(({ topic }) => topic === 'holdfast/fleet-test-1/telemetry'));
  t.ok(
    publishes.every(({ seqs, times }) =>
      times.every((time, at) => time === FLEET_FIRST_TIME_MS + (seqs[at]! - 1) * FLEET_INTERVAL_MS),
    ),
  );
  t.match(counters, { sent: 50, resent: 0, buffered: 0, up: 1 });
});

void test('no more publishes are unanswered than the edge allows', async (t) => {
  let unanswered = 0;
  let most = 0;
  const bench = await makeDevice(t, {
    connack: () => ({ ...WELCOME, properties: { receiveMaximum: 2 } }),
    answer: (publish) => {
      most = Math.max(most, ++unanswered);
      setImmediate(() => unanswered--);
      return puback(publish);
    },
  });
  const { device, counters } = bench;
  device.connect(true);
  await until(() => counters.up === 1);
  for (let made = 0; made < 40; made++) produce(device, 1);
  await until(() => counters.acked === 40);
  t.ok(most <= 2, `${most} at once`);
});

void test('several records that are refused go one by one, and the one that is bad is not acked', async (t) => {
  const bench = await makeDevice(t, {
    answer: (publish) => puback(publish, publish.seqs.includes(2) ? 0x99 : 0),
  });
  const { device, counters } = bench;
  produce(device, 4);
  device.connect(true);
  await until(() => counters.buffered === 0);
  t.match(counters, { acked: 3, refused: 1 });
  t.strictSame(device.ledger.acked(), [
    { first: 1, last: 1 },
    { first: 3, last: 4 },
  ]);
});

void test('an edge that is full is asked again when it said so, at the door and inside', async (t) => {
  const bench = await makeDevice(t, {
    connack: (connects) =>
      connects > 1
        ? WELCOME
        : {
            cmd: 'connack',
            reasonCode: 0x9f,
            sessionPresent: false,
            properties: { userProperties: { 'retry-after': '1' } },
          },
    answer: (publish, { publishes }) =>
      publishes.length > 1
        ? puback(publish)
        : { cmd: 'disconnect', reasonCode: 0x97, properties: { reasonString: 'retry-after:50' } },
  });
  const { device, counters, failures } = bench;
  const startedMs = performance.now();
  produce(device, 2);
  device.connect(true);
  await until(() => counters.acked === 2);
  t.ok(performance.now() - startedMs >= 1_000, 'not before the time that the edge named');
  t.match(counters, { sentAway: 2, broken: 0, resent: 2 });
  t.strictSame(failures, []);
});

void test('a device that is not let in, or publishes where it may not, is a failure of the fleet', async (t) => {
  const connack: Packet = {
    cmd: 'connack',
    reasonCode: 0x87,
    sessionPresent: false,
    properties: { reasonString: 'not its token' },
  };
  const outside = await makeDevice(t, { connack: () => connack });
  outside.device.connect(true);
  await until(() => outside.failures.length > 0);
  t.match(outside.failures[0], { code: 'device_refused', message: /CONNECT with 0x87: not its token/ });
  const inside = await makeDevice(t, { answer: (publish) => puback(publish, 0x90) });
  produce(inside.device, 2);
  inside.device.connect(true);
  await until(() => inside.failures.length > 0);
  t.match(inside.failures[0], { message: /a publish with 0x90/ });
});

void test('a PUBACK that answers nothing ends the connection', async (t) => {
  const bench = await makeDevice(t, {
    answer: (publish, { publishes }) => puback(publishes.length > 1 ? publish : { ...publish, packetId: 77 }),
  });
  const { device, counters } = bench;
  produce(device, 1);
  device.connect(true);
  await until(() => counters.acked === 1);
  t.match(counters, { broken: 1, resent: 1 });
});

void test('the head of a publish is what mqtt-packet writes', (t) => {
  const property = fc.property(
    fc.stringMatching(/^[A-Za-z0-9][A-Za-z0-9._:-]{0,127}$/),
    fc.integer({ min: 1, max: 65_535 }),
    fc.oneof(fc.nat(300), fc.nat(70_000)),
    (id, messageId, bytes) => {
      const topic = `holdfast/${id}/telemetry`;
      const payload = Buffer.alloc(bytes, 0x78);
      const buffer = Buffer.concat([Buffer.alloc(PUBLISH_HEAD_BYTES), payload]);
      const start = writePublishHead(buffer, PUBLISH_HEAD_BYTES, topic, messageId, bytes);
      const publish = { cmd: 'publish', qos: 1, dup: false, retain: false, topic, messageId, payload } as const;
      return buffer.subarray(start).equals(mqttPacket.generate(publish, VERSION));
    },
  );
  fc.assert(property, { numRuns: 300 });
  t.end();
});

void test("an edge's packets are read whole, wherever the stream is cut", (t) => {
  const packet = fc.oneof(
    fc.record({
      cmd: fc.constant('puback' as const),
      messageId: fc.integer({ min: 1, max: 65_535 }),
      reasonCode: fc.constantFrom(0, 0x10, 0x99),
    }),
    fc.constant({ cmd: 'pingresp' as const }),
    fc.record({
      cmd: fc.constant('disconnect' as const),
      reasonCode: fc.constantFrom(0x8b, 0x97),
      properties: fc.record({ reasonString: fc.string({ maxLength: 300 }) }),
    }),
  );
  const property = fc.property(
    fc.array(packet, { maxLength: 8 }),
    fc.array(fc.nat(40), { maxLength: 20 }),
    (packets, cuts) => {
      const each = packets.map((one) => mqttPacket.generate(one, VERSION));
      const stream = Buffer.concat(each);
      const found: string[] = [];
      let rest: Buffer = Buffer.alloc(0);
      let from = 0;
      for (const size of [...cuts, stream.length]) {
        const bytes = Buffer.concat([rest, stream.subarray(from, from + size)]);
        from = Math.min(stream.length, from + size);
        const used = readPackets(bytes, bytes.length, (_type, _body, whole) => found.push(whole.toString('hex')) > 0);
        rest = bytes.subarray(used);
      }
      const isSame = JSON.stringify(found) === JSON.stringify(each.map((one) => one.toString('hex')));
      return rest.length === 0 && isSame && packets.every((one, at) => isRead(one, each[at]!));
    },
  );
  fc.assert(property, { numRuns: 200 });
  t.end();
});

function isRead(packet: Packet, bytes: Buffer): boolean {
  if (packet.cmd !== 'puback') return true;
  const { packetId, reason } = readPuback(bytes.subarray(2));
  return packetId === packet.messageId && reason === packet.reasonCode;
}

void test('any bytes at all are read or refused, and nothing is read beyond them', (t) => {
  const property = fc.property(fc.uint8Array({ maxLength: 100 }), (bytes) => {
    const buffer = Buffer.from(bytes);
    try {
      const used = readPackets(buffer, buffer.length, () => true);
      return used >= 0 && used <= buffer.length;
    } catch (error) {
      return error instanceof HoldfastError && error.code === 'bad_frame';
    }
  });
  fc.assert(property, { numRuns: 2_000 });
  t.throws(() => readPackets(Buffer.from([0x40, 0xff, 0xff, 0xff, 0xff, 1]), 6, () => true), /malformed/);
  t.throws(() => readPackets(Buffer.from([0x40, 0xff, 0xff, 0xff, 0x7f]), 5, () => true), /bytes/);
  t.throws(() => readPuback(Buffer.from([1])), { code: 'bad_frame' });
  t.end();
});
