/** Real clients of MQTT: mqtt.js, mosquitto_pub and mosquitto_sub, and paho of Python; both versions, TCP and WebSocket. */
import { execFile, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { promisify } from 'node:util';
import mqtt from 'mqtt';
import { test } from 'tap';
import { deviceToken } from '../shared/token.js';
import { TestDownlink } from './support/downlink.js';
import { TestEdge } from './support/edge.js';
import { until } from './support/processes.js';

const SECRET = 'a secret of the tests of MQTT';
const edge = await TestEdge.start({ EDGE_DEVICE_SECRET: SECRET });
const downlink = await TestDownlink.listen(edge.downlinkPort);
const PYTHON = '/usr/bin/python3';

/** Why tests of a program are skipped; false where it is there. */
function missing(program: string, words: readonly string[]): string | false {
  try {
    execFileSync(program, words, { stdio: 'ignore' });
    return false;
  } catch (error) {
    // Any exit code will do of a program that has no way to say only that it is there.
    return (error as NodeJS.ErrnoException).code === 'ENOENT' || program === PYTHON
      ? `${program} ${words.join(' ')} does not run`
      : false;
  }
}

async function payloadsOf(deviceId: string): Promise<string[]> {
  return (await edge.stored(deviceId)).filter(({ kind }) => kind <= 3).map(({ payload }) => payload);
}

const WAYS = [4, 5].flatMap((version) =>
  (['TCP', 'WebSocket'] as const).map((way) => ({ version: version as 4 | 5, way })),
);

for (const { version, way } of WAYS) {
  void test(`mqtt.js ${version} over ${way} publishes, is told of errors, and hears deltas, commands and its shadow`, async (t) => {
    const deviceId = `js-${version}-${way}`;
    const url = way === 'TCP' ? `mqtt://127.0.0.1:${edge.mqttPort}` : `ws://127.0.0.1:${edge.port}/mqtt`;
    const client = await mqtt.connectAsync(url, {
      protocolVersion: version,
      username: deviceId,
      password: deviceToken(SECRET, deviceId),
      reconnectPeriod: 0,
    });
    const heard: Record<string, unknown> = {};
    client.on('message', (topic, payload) => (heard[topic] = JSON.parse(payload.toString()) as unknown));
    const own = `holdfast/${deviceId}`;
    const aws = `$aws/things/${deviceId}/shadow`;
    await client.subscribeAsync([`${own}/+`, `${aws}/#`, 'v1/devices/me/rpc/request/+', 'v1/devices/me/attributes']);
    await client.publishAsync(`${own}/telemetry`, '{"temperature": 20.0}', { qos: 1 });
    await client.publishAsync(`${own}/telemetry`, '[{"seq":1,"time":5,"data":1},{"seq":2,"time":6,"data":2}]', {
      qos: 1,
    });
    await client.publishAsync('v1/devices/me/telemetry', '{"ts":7,"values":{"a":1}}', { qos: 1 });
    await client.publishAsync('v1/devices/me/rpc/response/c-1', '{"done":true}', { qos: 1 });
    await client.publishAsync(`${aws}/update`, '{"state":{"reported":{"valve":"open"}},"clientToken":"x"}', { qos: 1 });
    t.same(await payloadsOf(deviceId), [
      '{"temperature": 20.0}',
      ...['1', '2', '{"a":1}', '{"id":"c-1","status":"SUCCEEDED","data":{"done":true}}', '{"valve":"open"}'],
    ]);
    await until(() => `${aws}/update/accepted` in heard);
    t.match(heard[`${aws}/update/accepted`], { state: { reported: { valve: 'open' } }, clientToken: 'x' });
    const bad = client.publishAsync(`${own}/telemetry`, '{bad', { qos: 1 });
    if (version === 5) await t.rejects(bad, { code: 0x99 });
    else await t.resolves(bad, 'MQTT 3.1.1 has no words for it');
    await until(() => `${own}/errors` in heard);
    t.match(heard[`${own}/errors`], { code: 'bad_json' });

    await until(() => (downlink.subscribed.get(deviceId) ?? 0) > 0);
    await downlink.delta(deviceId, { valve: 'closed' }, 7);
    await downlink.command(deviceId, { id: 'c-2', name: 'blink', data: { times: 3 } });
    await until(() => 'v1/devices/me/rpc/request/c-2' in heard);
    t.same(heard[`${own}/delta`], { delta: { valve: 'closed' }, version: 7 });
    t.match(heard[`${aws}/update/delta`], { version: 7, state: { valve: 'closed' } });
    t.same(heard['v1/devices/me/attributes'], { valve: 'closed' });
    t.same(heard[`${own}/commands`], { id: 'c-2', name: 'blink', data: { times: 3 } });
    t.same(heard['v1/devices/me/rpc/request/c-2'], { method: 'blink', params: { times: 3 } });
    await client.publishAsync(`${aws}/get`, '{"clientToken":"y"}', { qos: 1 });
    await until(() => downlink.of(deviceId).includes('question'));
    await downlink.shadow(deviceId, { state: { reported: { valve: 'open' } }, version: 3 });
    await until(() => `${aws}/get/accepted` in heard);
    t.same(heard[`${aws}/get/accepted`], { state: { reported: { valve: 'open' } }, version: 3, clientToken: 'y' });
    await client.publishAsync(`${aws}/name/other/get`, '', { qos: 0 });
    await until(() => `${aws}/name/other/get/rejected` in heard);
    t.match(heard[`${aws}/name/other/get/rejected`], { code: 403 });
    await client.endAsync();
  });
}

const noMosquitto = missing('mosquitto_pub', ['--help']);

for (const version of ['311', '5']) {
  void test(`mosquitto_pub ${version} publishes, and mosquitto_sub hears`, { skip: noMosquitto }, async (t) => {
    const deviceId = `mosquitto-${version}`;
    const words = ['-V', version, '-h', '127.0.0.1', '-p', String(edge.mqttPort), '-u', deviceId];
    const signed = [...words, '-P', deviceToken(SECRET, deviceId)];
    const publish = promisify(execFile);
    await publish('mosquitto_pub', [...signed, '-q', '1', '-t', `holdfast/${deviceId}/telemetry`, '-m', '{"a":1}']);
    t.same(await payloadsOf(deviceId), ['{"a":1}']);
    const refused = publish('mosquitto_pub', [...words, '-P', 'x', '-q', '1', '-t', 'a', '-m', '1']);
    await t.rejects(refused, /not authori[sz]ed/i);
    const subscriber = spawn('mosquitto_sub', [...signed, '-C', '1', '-t', `holdfast/${deviceId}/delta`]);
    let heard = '';
    subscriber.stdout.on('data', (chunk: Buffer) => (heard += chunk.toString()));
    const exit = once(subscriber, 'exit');
    const before = downlink.subscribed.get(deviceId) ?? 0;
    // Once for the connection, and once more for its subscription.
    await until(() => (downlink.subscribed.get(deviceId) ?? 0) > before);
    while (subscriber.exitCode === null) {
      await downlink.delta(deviceId, { on: true }, 4);
      await Promise.race([exit, new Promise((resolve) => setTimeout(resolve, 50))]);
    }
    t.equal(heard, '{"delta":{"on":true},"version":4}\n');
  });
}

const PAHO = `
import sys, paho.mqtt.client as mqtt, paho.mqtt.publish as publish
port, version, transport, device, token = sys.argv[1:]
publish.multiple(
    [{"topic": f"holdfast/{device}/telemetry", "payload": '{"n":%d}' % n, "qos": 1} for n in range(50)],
    hostname="127.0.0.1", port=int(port), auth={"username": device, "password": token},
    protocol=int(version), transport=transport, client_id=device)
`;

for (const { version, way } of WAYS) {
  void test(`paho ${version} over ${way}`, { skip: missing(PYTHON, ['-c', 'import paho.mqtt']) }, async (t) => {
    const deviceId = `paho-${version}-${way}`;
    const port = way === 'TCP' ? edge.mqttPort : edge.port;
    const transport = way === 'TCP' ? 'tcp' : 'websockets';
    const words = [String(port), String(version), transport, deviceId, deviceToken(SECRET, deviceId)];
    await promisify(execFile)(PYTHON, ['-c', PAHO, ...words], { timeout: 30_000 });
    const wanted = Array.from({ length: 50 }, (_, n) => `{"n":${n}}`);
    t.same((await payloadsOf(deviceId)).sort(), wanted.sort());
  });
}

void test('the edge ends cleanly', async (t) => {
  await downlink.close();
  t.equal(await edge.stop(), 0);
});
