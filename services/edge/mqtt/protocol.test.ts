import fc from 'fast-check';
import mqttPacket, { type Packet } from 'mqtt-packet';
import { test } from 'tap';
import { Kind } from '../../../shared/batch.js';
import { RawSocket } from '../../../test/support/device-socket.js';
import { TestEdge } from '../../../test/support/edge.js';
import { mutated } from '../../../test/support/fuzz-frames.js';
import { dialTcp } from '../../../test/support/mqtt-carrier.js';
import { connectPacket, MqttDevice, publishPacket } from '../../../test/support/mqtt-device.js';
import { until } from '../../../test/support/processes.js';

const edge = await TestEdge.start({ EDGE_WINDOW: '16KiB', EDGE_FRAME_LIMIT: '8KiB', EDGE_PAYLOAD_LIMIT: '4KiB' });

function open(deviceId: string, version: 4 | 5 = 5, more = {}): Promise<MqttDevice> {
  return MqttDevice.open(dialTcp(edge.mqttPort), deviceId, version, more);
}

void test('CONNACK says what there is here', async (t) => {
  const device = await open('connack', 5, { clientId: '', username: 'connack', keepalive: 0 });
  t.match(device.connack, {
    reasonCode: 0,
    sessionPresent: false,
    properties: {
      ...{ sessionExpiryInterval: 0, receiveMaximum: 16, maximumQoS: 1, retainAvailable: false },
      ...{ maximumPacketSize: 8_192, topicAliasMaximum: 16, sharedSubscriptionAvailable: false },
      ...{ assignedClientIdentifier: 'connack', serverKeepAlive: 1_200 },
    },
  });
  await device.close();
});

void test('who is not let in is told why, in the words of its version', async (t) => {
  for (const [more, reason, returnCode] of [
    [{ clientId: 'no/id' }, 0x85, 2],
    [{ will: { topic: 'a', payload: 'x'.repeat(5_000) } }, 0x97, 5],
  ] as const) {
    const five = await open('x', 5, more);
    t.equal(five.connack.reasonCode, reason);
    await five.closed();
    const four = await open('x', 4, more);
    t.equal(four.connack.returnCode, returnCode);
    await four.closed();
  }
  const old = await MqttDevice.raw(dialTcp(edge.mqttPort), 4);
  old.send(
    mqttPacket.generate({ cmd: 'connect', protocolId: 'MQIsdp', protocolVersion: 3, clientId: 'old', keepalive: 0 }),
  );
  await old.closed();
  t.equal(old.connack.returnCode, 1);
});

void test('what breaks the protocol ends the connection with its reason', async (t) => {
  const topic = 'holdfast/broken/telemetry';
  const cases: readonly (readonly [reason: number, packet: Packet | Buffer])[] = [
    [0x9b, publishPacket(topic, '1', 1, { qos: 2 })],
    [0x9a, publishPacket(topic, '1', 1, { retain: true })],
    [0x94, publishPacket(topic, '1', 1, { properties: { topicAlias: 17 } })],
    [0x82, publishPacket('', '1', 1, { properties: { topicAlias: 3 } })],
    [0x82, connectPacket('broken')],
    [0x95, publishPacket(topic, 'x'.repeat(9_000), 1)],
    [0x81, Buffer.of(0x30, 0xff, 0xff, 0xff, 0xff)],
    [0x81, Buffer.of(0x82, 2, 0, 1)],
    [
      0x93,
      Buffer.concat(
        Array.from({ length: 17 }, (_, id) =>
          mqttPacket.generate(publishPacket(topic, '1', id + 1), { protocolVersion: 5 }),
        ),
      ),
    ],
  ];
  for (const [reason, packet] of cases) {
    const device = await open('broken');
    device.send(packet);
    await device.closed();
    t.equal(device.disconnectReason, reason);
  }
});

void test('topics of others are refused, aliases stand for topics, and PUBACKs come in order', async (t) => {
  const device = await open('topics');
  t.same(await device.subscribe('holdfast/topics/+', 'holdfast/other/delta', '#', '$share/a/b', 'holdfast/topics/x'), [
    ...[0, 0x87, 0x87, 0x9e, 0x8f],
  ]);
  // Every message would be held against all of it.
  t.same(await device.subscribe(`$aws/things/topics/shadow/name/${'x'.repeat(500)}/get/accepted`), [0x8f]);
  const own = 'holdfast/topics/telemetry';
  device.publish(own, '1', 1, { properties: { topicAlias: 5 } });
  device.publish('holdfast/other/telemetry', '2', 2);
  device.publish('', '3', 3, { properties: { topicAlias: 5, userProperties: { seq: '7', time: '8' } } });
  device.publish('elsewhere', '4', 4);
  device.publish(own, '{bad', 5);
  device.publish(own, '6', 6);
  await device.untilAcked(6);
  t.same(device.acked, [1, 2, 3, 4, 5, 6]);
  t.same(
    [1, 2, 3, 4, 5, 6].map((id) => device.reasonOf(id)),
    [0, 0x87, 0, 0x90, 0x99, 0],
  );
  await device.close();
  const stored = (await edge.stored('topics')).filter(({ kind }) => kind === Kind.telemetry);
  t.same(
    stored.map(({ payload }) => payload),
    ['1', '3', '6'],
  );
  t.match(stored[1], { seq: 7, timeMs: 8 });
  const old = await open('topics', 4);
  t.same(await old.subscribe('holdfast/topics/delta', 'holdfast/other/delta'), [0, 0x80]);
  await old.close();
});

void test('a packet that is more than the window is refused whole, and nothing of it is stored', async (t) => {
  const device = await open('whole');
  device.publish(
    'holdfast/whole/telemetry',
    Array.from({ length: 600 }, () => 1),
    1,
  );
  await device.untilAcked(1);
  t.equal(device.reasonOf(1), 0x99);
  await device.close();
  t.same(await edge.storedSeqs('whole'), []);
});

void test('a will stands in the offline record where a device breaks off, and not after a goodbye', async (t) => {
  const will = { topic: 'a', payload: '{"gone":true}' };
  const offline = async (count: number): Promise<unknown[]> => {
    const notes = async (): Promise<string[]> =>
      (await edge.stored('will')).filter(({ kind }) => kind === Kind.offline).map(({ payload }) => payload);
    await until(async () => (await notes()).length === count);
    return (await notes()).map((payload) => (JSON.parse(payload) as { will?: unknown }).will);
  };
  (await open('will', 5, { will })).destroy();
  t.same(await offline(1), [{ gone: true }]);
  await (await open('will', 4, { will })).close();
  t.same(await offline(2), [{ gone: true }, undefined]);
});

void test('a device that is silent for longer than it said is sent away; pings are answered', async (t) => {
  const device = await open('silent', 5, { keepalive: 1 });
  device.send({ cmd: 'pingreq' });
  await device.closed();
  t.equal(device.of('pingresp').length, 1);
  t.equal(device.disconnectReason, 0x8d);
});

void test('sessions are taken over from one protocol to the other', async (t) => {
  const socket = await edge.connect('both');
  const device = await open('both');
  t.equal((await socket.closed()).code, 4409);
  const again = await edge.connect('both');
  await device.closed();
  t.equal(device.disconnectReason, 0x8e);
  await again.close();
});

void test('damaged packets do not harm the edge, before CONNECT and after it', async (t) => {
  const connect = mqttPacket.generate(connectPacket('fuzz'), { protocolVersion: 5 });
  const topic = 'holdfast/fuzz/telemetry';
  const packets = [
    publishPacket(topic, '{"seq":1,"data":{}}', 1, { properties: { topicAlias: 1, userProperties: { seq: '3' } } }),
    publishPacket('$aws/things/fuzz/shadow/update', '{"state":{"reported":{"a":[1]}}}', 2),
    publishPacket('v1/devices/me/rpc/response/1', `${'['.repeat(900)}${']'.repeat(900)}`, 3),
    { cmd: 'subscribe', messageId: 4, subscriptions: [{ topic: 'holdfast/fuzz/+', qos: 1 }] },
    { cmd: 'unsubscribe', messageId: 5, unsubscriptions: ['holdfast/fuzz/+'] },
    { cmd: 'disconnect', reasonCode: 4 },
  ] as Packet[];
  const good = fc.constantFrom(...packets.map((packet) => mqttPacket.generate(packet, { protocolVersion: 5 })));
  await fc.assert(
    fc.asyncProperty(
      mutated(fc.constant(connect)),
      fc.array(mutated(good), { maxLength: 4 }),
      fc.boolean(),
      async (damaged, after, isIn) => {
        const socket = await RawSocket.open(edge.mqttPort);
        socket.write(Buffer.concat([isIn ? connect : damaged, ...after]));
        socket.end();
        await socket.closed();
      },
    ),
    { numRuns: 300 },
  );
  t.ok(edge.process.running);
  const device = await open('after');
  device.publish('holdfast/after/telemetry', '1', 1);
  await device.untilAcked(1);
  await device.close();
  t.equal(await edge.stop(), 0);
});
