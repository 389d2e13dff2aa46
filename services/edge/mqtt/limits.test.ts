/** What an MQTT connection may cost: a time until CONNECT, a place at the door, unanswered publishes, bytes unread. */
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import mqttPacket from 'mqtt-packet';
import { isDeepStrictEqual as same } from 'node:util';
import { test, type Test } from 'tap';
import { ask, RawSocket, UPGRADE_HEADERS } from '../../../test/support/device-socket.js';
import { TestDownlink } from '../../../test/support/downlink.js';
import { TestEdge } from '../../../test/support/edge.js';
import { HttpDevice } from '../../../test/support/http-device.js';
import { dialEdge, dialTcp, MQTT_WAYS, type Dial } from '../../../test/support/mqtt-carrier.js';
import { connectPacket, MqttDevice, publishPacket } from '../../../test/support/mqtt-device.js';
import { until } from '../../../test/support/processes.js';

/** Connections that the edge lets come to its door. */
const DOOR = 4_096;

/** Publishes of QoS 1 with the packet ids 1, 2, 3…, in one piece. */
function publishes(version: 4 | 5, deviceId: string, count: number, payload: (id: number) => string): Buffer {
  const topic = `holdfast/${deviceId}/telemetry`;
  return Buffer.concat(
    Array.from({ length: count }, (_, index) =>
      mqttPacket.generate(publishPacket(topic, payload(index + 1), index + 1), { protocolVersion: version }),
    ),
  );
}

function idsTo(count: number): number[] {
  return Array.from({ length: count }, (_, index) => index + 1);
}

/** Connects, again where it was too late or there was no place. */
async function letIn(dial: Dial, deviceId: string): Promise<MqttDevice> {
  for (;;) {
    const device = await MqttDevice.open(dial, deviceId).catch(() => undefined);
    if (device !== undefined) return device;
  }
}

void test('whoever does not say who it is in time is ended; whoever did stays', async (t) => {
  const edge = await TestEdge.start({ EDGE_CONNECT_TIMEOUT: '300ms' });
  t.teardown(() => edge.stop());
  for (const way of MQTT_WAYS) {
    const dial = dialEdge(edge, way);
    // The time of one that says nothing at all may be up before the others are there.
    const silent = await MqttDevice.raw(dial);
    const halting = await MqttDevice.raw(dial);
    halting.send(mqttPacket.generate(connectPacket('halting')).subarray(0, 9));
    const quick = await letIn(dial, 'quick');
    await Promise.all([silent.closed(), halting.closed()]);
    t.same([...silent.packets, ...halting.packets], []);
    // Were its time still running it would be up first.
    const later = await MqttDevice.raw(dial);
    await later.closed();
    quick.publish('holdfast/quick/telemetry', '1', 1);
    await quick.untilAcked(1);
    await quick.close();
  }
});

void test('the door has a bound; a place is free again once somebody was let in or is gone', async (t) => {
  const edge = await TestEdge.start({ EDGE_CONNECT_TIMEOUT: '10m' });
  t.teardown(() => edge.stop());
  const waiting: Socket[] = [];
  while (waiting.length < DOOR) {
    const some = Array.from({ length: 256 }, () => connect(edge.mqttPort, '127.0.0.1'));
    await Promise.all(some.map((socket) => once(socket, 'connect')));
    waiting.push(...some);
  }
  // Those who were here before are at the door by then: connections are accepted in order.
  const over = await RawSocket.open(edge.mqttPort);
  await over.closed();
  const upgrade = { ...UPGRADE_HEADERS, 'Sec-WebSocket-Protocol': 'mqtt' };
  const { status, headers } = await ask(edge.port, '/mqtt', upgrade);
  t.equal(status, 503);
  t.ok(Number(headers['retry-after']) > 0);
  t.equal(await edge.process.metric('holdfast_rejected_total{reason="max_devices"'), 2);

  const [first, second] = waiting as [Socket, Socket];
  first.write(mqttPacket.generate(connectPacket('first')));
  await once(first, 'data');
  t.equal((await ask(edge.port, '/mqtt', upgrade)).status, 101);
  second.destroy();
  // The edge may hear of who is gone after it hears of who comes.
  const last = await letIn(dialTcp(edge.mqttPort), 'last');
  last.publish('holdfast/last/telemetry', '1', 1);
  await last.untilAcked(1);
  const gone = waiting.slice(2).map((socket) => once(socket.resume(), 'close'));
  t.equal(await edge.process.end(), 0, 'an edge that stops waits for nobody at its door');
  await Promise.all(gone);
});

void test('a device of 3.1.1 is read no faster than it is answered: over its window it waits', async (t) => {
  // A window of 16 publishes.
  const edge = await TestEdge.start({ EDGE_WINDOW: '16KiB', EDGE_FRAME_LIMIT: '8KiB', EDGE_PAYLOAD_LIMIT: '4KiB' });
  t.teardown(() => edge.stop());
  const device = await MqttDevice.open(dialTcp(edge.mqttPort), 'eager', 4);
  const small = 2_000;
  device.send(publishes(4, 'eager', small, (id) => `{"seq":${id},"time":1,"data":0}`));
  await device.untilAcked(small);
  t.same(device.acked, idsTo(small));
  // A third of the window each, so that it is the window that is full.
  const payload = JSON.stringify('x'.repeat(4_000));
  device.packets.length = 0;
  device.send(publishes(4, 'eager', 50, (id) => `{"seq":${small + id},"time":1,"data":${payload}}`));
  await device.untilAcked(50);
  t.same(device.acked, idsTo(50));
  await device.close();
  t.same(await edge.storedSeqs('eager'), idsTo(small + 50));
  t.ok(!((await edge.process.metric('holdfast_rejected_total{reason="window"')) > 0), 'and nothing was sent away');

  const webSocket = await MqttDevice.open(dialEdge(edge, 'WebSocket'), 'sent-away', 4);
  webSocket.send(publishes(4, 'sent-away', 17, (id) => String(id)));
  await webSocket.closed();
  t.equal(webSocket.disconnectReason, undefined, '3.1.1 has no words for it');
});

void test('a device that has more unanswered than it may gets on with every connection', async (t) => {
  // A window of 64 publishes.
  const edge = await TestEdge.start({ EDGE_WINDOW: '64KiB', EDGE_FRAME_LIMIT: '16KiB', EDGE_PAYLOAD_LIMIT: '8KiB' });
  t.teardown(() => edge.stop());
  const count = 300;
  for (const version of [4, 5] as const) {
    for (const way of MQTT_WAYS) {
      const id = `over-${version}-${way}`;
      const unanswered = new Set(idsTo(count));
      for (let connections = 1; unanswered.size > 0; connections++) {
        if (connections > count) throw new Error(`${id} has ${unanswered.size} unanswered`);
        const device = await MqttDevice.open(dialEdge(edge, way), id, version);
        const whole = [...unanswered].map((seq) =>
          mqttPacket.generate(publishPacket(`holdfast/${id}/telemetry`, { seq, time: 1, data: 0 }, seq), {
            protocolVersion: version,
          }),
        );
        device.send(Buffer.concat(whole));
        await until(() => device.isClosed || device.acked.length === unanswered.size);
        await device.close();
        t.ok(device.acked.length >= Math.min(64, unanswered.size), `${device.acked.length} were answered`);
        if (version === 5 && device.acked.length < unanswered.size) t.equal(device.disconnectReason, 0x93);
        for (const packetId of device.acked) unanswered.delete(packetId);
      }
      t.same(await edge.storedSeqs(id), idsTo(count), id);
    }
  }
});

void test('a device that sends its backlog at once, all of it refused, hears of every publish', async (t) => {
  const edge = await TestEdge.start();
  t.teardown(() => edge.stop());
  const count = 1_000;
  for (const version of [4, 5] as const) {
    for (const way of MQTT_WAYS) {
      const device = await MqttDevice.open(dialEdge(edge, way), 'refused', version);
      await device.subscribe('holdfast/refused/errors');
      device.send(publishes(version, 'refused', count, () => '{bad'));
      await device.untilAcked(count);
      t.same(device.acked, idsTo(count));
      if (version === 5) t.ok(device.acked.every((id) => device.reasonOf(id) === 0x99));
      t.ok(device.published.length >= 20, `${device.published.length} errors in words`);
      await device.close();
    }
  }
});

/** Devices that have subscribed before shadow is there, so that shadow hears of each once, and nothing passes it by. */
async function subscribed(
  t: Test,
  edge: TestEdge,
  topics: (deviceId: string) => readonly string[],
  ...deviceIds: readonly string[]
): Promise<readonly [TestDownlink, ...MqttDevice[]]> {
  const devices = [];
  for (const deviceId of deviceIds) {
    const way = MQTT_WAYS.find((each) => deviceId.endsWith(each))!;
    const device = await MqttDevice.open(dialEdge(edge, way), deviceId);
    await device.subscribe(...topics(deviceId));
    devices.push(device);
  }
  const downlink = await TestDownlink.listen(edge.downlinkPort);
  t.teardown(() => downlink.close());
  await downlink.untilSubscribed(...deviceIds);
  return [downlink, ...devices];
}

void test('a long delta under all its names reaches a device that reads slowly', async (t) => {
  const edge = await TestEdge.start();
  t.teardown(() => edge.stop());
  const names = (id: string): string[] => [
    ...[`holdfast/${id}/+`, `$aws/things/${id}/shadow/#`, 'v1/devices/me/attributes'],
  ];
  const ids = MQTT_WAYS.map((way) => `slow-${way}`);
  const [downlink, ...devices] = await subscribed(t, edge, names, ...ids);
  // Longer than what the kernel takes at once.
  const text = 'x'.repeat(8_000_000);
  for (const [index, device] of devices.entries()) {
    device.pause();
    await downlink.delta(device.id, { text }, 1);
    await until(async () => (await edge.process.metric('holdfast_downlink_total{type="delta"')) > index);
    device.resume();
    await device.until(() => device.of('publish').length === 3);
    const [own, , attributes] = device.published;
    t.ok(own?.topic === `holdfast/${device.id}/delta` && same(own.value, { delta: { text }, version: 1 }));
    t.ok(attributes?.topic === 'v1/devices/me/attributes' && same(attributes.value, { text }));
    await device.close();
  }
});

void test('a device that never reads is cut off once 64 KiB wait for it, and costs the others nothing', async (t) => {
  const edge = await TestEdge.start();
  t.teardown(() => edge.stop());
  const ids = MQTT_WAYS.flatMap((way) => [`deaf-${way}`, `reading-${way}`]);
  const [downlink, ...devices] = await subscribed(t, edge, (id) => [`holdfast/${id}/delta`], ...ids);
  const text = 'x'.repeat(100_000);
  for (let index = 0; index < devices.length; index += 2) {
    const [deaf, reading] = devices.slice(index, index + 2) as [MqttDevice, MqttDevice];
    deaf.pause();
    let sent = 0;
    // What the kernel keeps for it is a few megabytes.
    while (downlink.subscribed.has(deaf.id) && sent < 1_000) {
      await downlink.delta(deaf.id, { text }, ++sent);
      await downlink.delta(reading.id, { n: sent }, sent);
      await reading.until(() => reading.of('publish').length === sent);
    }
    t.ok(sent > 2 && sent < 500, `cut off after ${sent} deltas`);
    reading.publish(`holdfast/${reading.id}/telemetry`, '1', 1);
    await reading.untilAcked(1);
    await reading.close();
    deaf.destroy();
  }
});

void test('a publish with QoS 2 ends a connection of 3.1.1, and nothing of it is stored', async (t) => {
  const edge = await TestEdge.start();
  t.teardown(() => edge.stop());
  for (const way of MQTT_WAYS) {
    const device = await MqttDevice.open(dialEdge(edge, way), 'exactly', 4);
    device.publish('holdfast/exactly/telemetry', '{"seq":1,"data":1}', 1);
    await device.untilAcked(1);
    device.send(publishPacket('holdfast/exactly/telemetry', '{"seq":2,"data":2}', 2, { qos: 2 }));
    await device.closed();
    t.same(device.acked, [1]);
    t.same([...device.of('pubrec'), ...device.of('disconnect')], []);
    const stored = await edge.storedSeqs('exactly');
    t.ok(stored.length > 0 && stored.every((seq) => seq === 1));
  }
});

void test('with MQTT and UDP off nothing listens for them, and the rest works', async (t) => {
  const edge = await TestEdge.start({ EDGE_MQTT_LISTEN: 'off', EDGE_UDP_LISTEN: 'off' });
  t.teardown(() => edge.stop());
  await t.rejects(MqttDevice.raw(dialTcp(edge.mqttPort)), { code: 'ECONNREFUSED' });
  // The port would be taken.
  const socket = createSocket('udp4').bind(edge.udpPort, '127.0.0.1');
  await once(socket, 'listening');
  socket.close();
  const webSocket = await edge.connect('web-socket');
  webSocket.send({ seq: 1, data: 1 });
  await webSocket.untilAcked(1);
  const http = new HttpDevice(edge.port, 'http');
  t.equal((await http.send({ seq: 1, data: 1 })).ack, 1);
  http.close();
  const mqtt = await MqttDevice.open(dialEdge(edge, 'WebSocket'), 'mqtt');
  mqtt.publish('holdfast/mqtt/telemetry', '1', 1);
  await mqtt.untilAcked(1);
  t.equal(await edge.process.end(), 0);
});
