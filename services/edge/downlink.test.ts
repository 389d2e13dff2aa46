import { equal, ok } from 'node:assert/strict';
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import fc from 'fast-check';
import { test, type Test } from 'tap';
import { Device } from '../../shared/device.js';
import { DownlinkType, encodeDownlink } from '../../shared/downlink-frames.js';
import {
  BINARY_PROTOCOL,
  binaryRecord,
  JSON_PROTOCOL,
  upgradeRequest,
  type DeviceSocket,
} from '../../test/support/device-socket.js';
import { TestDownlink } from '../../test/support/downlink.js';
import { TestEdge } from '../../test/support/edge.js';
import { until } from '../../test/support/processes.js';

const PROTOCOLS = [JSON_PROTOCOL, BINARY_PROTOCOL];
const QUESTION = binaryRecord({ seq: 0, kind: 6, payload: '' });

const edge = await TestEdge.start({ EDGE_ACCEPT_RATE: '100000', EDGE_ACCEPT_BURST: '100000' });
let shadow = await TestDownlink.listen(edge.downlinkPort);
await untilConnected(1);

async function untilConnected(value: number): Promise<void> {
  await until(async () => (await edge.process.metric('holdfast_downlink_connected')) === value);
}

function ask(device: DeviceSocket): void {
  device.send(device.protocol === BINARY_PROTOCOL ? QUESTION : { get: 'shadow' });
}

/** What a device has got from shadow. */
function got(device: DeviceSocket): unknown[] {
  return device.replies.filter(({ type }) => type === 'delta' || type === 'command' || type === 'shadow');
}

/** Resolves once everything that shadow has sent before has been taken by the edge. */
async function settled(probe: DeviceSocket): Promise<void> {
  const command = { id: `probe-${probe.replies.length}`, name: 'probe', data: null };
  await shadow.command('probe', command);
  await probe.until(() => probe.replies.some((reply) => reply.type === 'command' && reply.command.id === command.id));
}

async function withProbe(t: Test): Promise<DeviceSocket> {
  const probe = await edge.connect('probe');
  await shadow.untilSubscribed('probe');
  t.teardown(() => probe.close());
  return probe;
}

async function dropped(reason: string): Promise<number> {
  return (await edge.process.metric(`holdfast_downlink_dropped_total{reason="${reason}"`)) || 0;
}

for (const protocol of PROTOCOLS) {
  const device = protocol.split('.').at(-1)!;

  void test(`${device}: deltas, commands and shadows reach the device, byte for byte`, async (t) => {
    const socket = await edge.connect(device, { protocols: [protocol] });
    await shadow.untilSubscribed(device);
    ask(socket);
    await until(() => shadow.of(device).includes('question'));
    const before = await edge.process.metric('holdfast_downlink_total{type="delta"');
    await shadow.delta(device, { valve: 'closéd', n: 1 }, Number.MAX_SAFE_INTEGER);
    await shadow.command(device, { id: 'c-1', name: 'reboot', data: { now: true }, expires: 5 });
    await shadow.shadow(device, { state: { desired: {} } });
    await socket.until(() => got(socket).length === 3);
    t.same(got(socket), [
      { type: 'delta', delta: { valve: 'closéd', n: 1 }, version: Number.MAX_SAFE_INTEGER },
      { type: 'command', command: { id: 'c-1', name: 'reboot', data: { now: true }, expires: 5 } },
      { type: 'shadow', shadow: { state: { desired: {} } } },
    ]);
    t.equal((await edge.process.metric('holdfast_downlink_total{type="delta"')) - (before || 0), 1);
    await socket.close();
  });

  void test(`${device}: a question is no record: it has no seq, is never acked, and stands among records`, async (t) => {
    const id = `asks-${device}`;
    const socket = await edge.connect(id, { protocols: [protocol] });
    await shadow.untilSubscribed(id);
    if (protocol === JSON_PROTOCOL) socket.send([{ data: 1 }, { get: 'shadow' }, { data: 2 }]);
    else socket.send(Buffer.concat([binaryRecord({ seq: 1 }), QUESTION, binaryRecord({ seq: 2 })]));
    await socket.untilAcked(2);
    await until(() => shadow.of(id).includes('question'));
    await shadow.shadow(id, null);
    await socket.until(() => got(socket).length === 1);
    t.same(got(socket), [{ type: 'shadow', shadow: null }], 'a device without a shadow gets null');
    t.same(await edge.storedSeqs(id), [1, 2]);
    t.same(socket.errors, []);
    await socket.close();
  });

  void test(`${device}: questions while one is under way are merged, and one answer ends it`, async (t) => {
    const probe = await withProbe(t);
    const id = `merge-${device}`;
    const socket = await edge.connect(id, { protocols: [protocol] });
    for (let count = 0; count < 10; count++) ask(socket);
    if (protocol === JSON_PROTOCOL) socket.send(Array(500).fill({ get: 'shadow' }));
    else socket.send(Buffer.concat(Array<Buffer>(500).fill(QUESTION)));
    // The ack says that the edge has read them all.
    socket.send(protocol === JSON_PROTOCOL ? { seq: 1, data: 1 } : binaryRecord({ seq: 1 }));
    await socket.untilAcked(1);
    await until(() => shadow.of(id).includes('question'));
    await shadow.shadow(id, { n: 1 });
    await shadow.shadow(id, { n: 2 });
    await settled(probe);
    await socket.until(() => got(socket).length > 0);
    t.same(got(socket), [{ type: 'shadow', shadow: { n: 1 } }], 'the second answer is one to no question');
    t.same(shadow.of(id), ['subscribe', 'question'], 'and shadow was asked once');
    ask(socket);
    await until(() => shadow.of(id).length === 3);
    await shadow.shadow(id, { n: 3 });
    await socket.until(() => got(socket).length === 2);
    await socket.close();
  });
}

void test('a question that shadow does not answer is refused after seconds, and says what it was', async (t) => {
  const probe = await withProbe(t);
  const refused = PROTOCOLS.map(async (protocol, index) => {
    const id = `silent-${index}`;
    const socket = await edge.connect(id, { protocols: [protocol] });
    ask(socket);
    await socket.until(() => socket.errors.length === 1);
    t.match(socket.errors, [{ code: 'refused', get: 'shadow', seq: undefined, message: /no answer came within/ }]);
    return { id, socket };
  });
  for (const { id, socket } of await Promise.all(refused)) {
    await shadow.shadow(id, { late: true });
    await settled(probe);
    ask(socket);
    await until(() => shadow.of(id).filter((type) => type === 'question').length === 2);
    await shadow.shadow(id, { late: false });
    await socket.until(() => got(socket).length === 1);
    t.same(got(socket), [{ type: 'shadow', shadow: { late: false } }], 'an answer that comes too late is dropped');
    await socket.close();
  }
});

void test('a shadow that nobody has asked for is not given to the device', async (t) => {
  const probe = await withProbe(t);
  const before = await dropped('unasked');
  const socket = await edge.connect('unasking');
  await shadow.untilSubscribed('unasking');
  await shadow.shadow('unasking', {});
  await settled(probe);
  t.equal(await dropped('unasked'), before + 1);
  t.same(got(socket), []);
  await socket.close();
});

void test('a device that goes is taken back, and what is sent to it then reaches nobody', async (t) => {
  const probe = await withProbe(t);
  const other = await edge.connect('other');
  const socket = await edge.connect('gone');
  await shadow.untilSubscribed('gone', 'other');
  await socket.close();
  await until(() => !shadow.subscribed.has('gone'));
  t.same(shadow.of('gone'), ['subscribe', 'cancel']);
  await shadow.delta('gone', { a: 1 }, 1);
  const before = await dropped('gone');
  await settled(probe);
  t.equal(await dropped('gone'), before, 'shadow does not even send it');
  t.same(got(other), []);
  await other.close();
});

void test('a device that takes over its session is announced anew, and the newer session gets what is sent', async (t) => {
  const older = await edge.connect('twice');
  await shadow.untilSubscribed('twice');
  ask(older);
  await until(() => shadow.of('twice').includes('question'));
  const newer = await edge.connect('twice', { protocols: [BINARY_PROTOCOL] });
  t.equal((await older.closed()).code, 4409);
  await until(() => shadow.of('twice').length === 4);
  t.same(shadow.of('twice'), ['subscribe', 'question', 'cancel', 'subscribe']);
  await shadow.shadow('twice', { asked: 'by the older' });
  await shadow.delta('twice', { a: 1 }, 2);
  await newer.until(() => got(newer).length > 0);
  t.same(got(newer), [{ type: 'delta', delta: { a: 1 }, version: 2 }], 'and not the answer to a question of the older');
  t.same(got(older), []);
  await newer.close();
  await until(() => !shadow.subscribed.has('twice'));
});

void test('a device that reconnects and takes over again and again is known by one subscription at the end', async (t) => {
  let socket = await edge.connect('restless');
  for (let round = 0; round < 30; round++) {
    if (round % 3 === 0) await socket.close();
    socket = await edge.connect('restless');
  }
  // Whoever comes later is announced later.
  const later = await edge.connect('later');
  await shadow.untilSubscribed('restless', 'later');
  await later.close();
  await shadow.delta('restless', { a: 1 }, 1);
  await socket.until(() => got(socket).length === 1);
  t.equal(shadow.of('restless').at(-1), 'subscribe');
  await socket.close();
  await until(() => !shadow.subscribed.has('restless'));
  t.equal(got(socket).length, 1);
});

void test('with shadow away the edge is ready and acks, refuses questions, and says so in its metrics', async (t) => {
  const socket = await edge.connect('alone');
  await shadow.untilSubscribed('alone');
  ask(socket);
  await until(() => shadow.of('alone').includes('question'));
  await shadow.close();
  await socket.until(() => socket.errors.length === 1);
  t.match(
    socket.errors[0],
    { code: 'refused', get: 'shadow', message: /went away/ },
    'one under way is refused at once',
  );
  await untilConnected(0);
  ask(socket);
  await socket.until(() => socket.errors.length === 2);
  t.match(socket.errors[1], { code: 'refused', get: 'shadow', message: /cannot be reached/ });
  socket.send({ seq: 1, data: 1 });
  await socket.untilAcked(1);
  t.same(await edge.process.waitingFor(), []);
  const binary = await edge.connect('alone-binary', { protocols: [BINARY_PROTOCOL] });
  ask(binary);
  await binary.until(() => binary.errors.length === 1);
  t.match(binary.errors[0], { code: 'refused', get: 'shadow', seq: undefined });
  await socket.close();

  shadow = await TestDownlink.listen(edge.downlinkPort);
  await shadow.untilSubscribed('alone-binary');
  t.same(shadow.of('alone'), [], 'a device that went meanwhile is not announced');
  await untilConnected(1);
  ask(binary);
  await until(() => shadow.of('alone-binary').includes('question'));
  await shadow.shadow('alone-binary', {});
  await binary.until(() => got(binary).length === 1);
  await binary.close();
});

/** A device that does nothing but be here: no more than a TCP connection. */
async function idle(deviceId: string): Promise<Socket> {
  const socket = connect(edge.port, '127.0.0.1');
  await once(socket, 'connect');
  socket.write(upgradeRequest(deviceId));
  const [answer] = (await once(socket, 'data')) as [Buffer];
  if (!answer.toString('latin1').startsWith('HTTP/1.1 101 ')) throw new Error(answer.toString('latin1'));
  socket.resume();
  return socket;
}

void test('5,000 connected devices are all announced again after the downlink of shadow restarts', async (t) => {
  const ids = Array.from({ length: 5_000 }, (_, index) => `fleet-${index}`);
  const sockets: Socket[] = [];
  for (let at = 0; at < ids.length; at += 250) {
    sockets.push(...(await Promise.all(ids.slice(at, at + 250).map((id) => idle(id)))));
  }
  await shadow.untilSubscribed(...ids);
  await shadow.close();
  await untilConnected(0);
  // Some go and some come while shadow is away.
  for (const socket of sockets.splice(0, 10)) socket.destroy();
  ids.splice(0, 10);
  sockets.push(await idle('newcomer'));
  ids.push('newcomer');
  await until(async () => (await edge.process.metric('holdfast_devices')) === ids.length);
  shadow = await TestDownlink.listen(edge.downlinkPort);
  await shadow.untilSubscribed(...ids);
  t.equal(shadow.subscribed.size, ids.length, 'and nobody else');
  t.ok([...shadow.subscribed.values()].every((times) => times === 1));
  t.equal(shadow.malformed, 0);
  for (const socket of sockets) socket.destroy();
  await until(() => shadow.subscribed.size === 0);
});

void test('long messages to devices that read slowly arrive whole, whatever comes between', async (t) => {
  for (const protocol of PROTOCOLS) {
    const id = `slow-${protocol.split('.').at(-1)!}`;
    const socket = await edge.connect(id, { protocols: [protocol] });
    await shadow.untilSubscribed(id);
    const text = 'x'.repeat(8_000_000);
    // Longer than what the kernel takes at once.
    socket.pause();
    await shadow.delta(id, { text }, 1);
    socket.resume();
    await socket.until(() => got(socket).length === 1);
    socket.pause();
    await shadow.delta(id, { text }, 2);
    await until(async () => (await edge.process.metric('holdfast_downlink_total{type="delta"')) > 0);
    socket.resume();
    await socket.until(() => got(socket).length === 2);
    t.same(got(socket), [
      { type: 'delta', delta: { text }, version: 1 },
      { type: 'delta', delta: { text }, version: 2 },
    ]);
    await socket.close();
  }
});

void test('a device that never reads its deltas is closed, and costs the others nothing', async (t) => {
  const other = await edge.connect('reading');
  const deaf = await edge.connect('deaf');
  await shadow.untilSubscribed('reading', 'deaf');
  deaf.pause();
  const text = 'x'.repeat(100_000);
  let sent = 0;
  // What the kernel keeps for it is a few megabytes.
  while (shadow.subscribed.has('deaf') && sent < 10_000) {
    await shadow.delta('deaf', { text }, ++sent);
    await shadow.delta('reading', { n: sent }, sent);
    await other.until(() => got(other).length === sent);
  }
  t.ok(sent > 5 && sent < 1_000, `closed after ${sent} deltas`);
  await until(() => !shadow.subscribed.has('deaf'));
  t.ok((await dropped('unread')) >= 1);
  other.send({ seq: 1, data: 1 });
  await other.untilAcked(1);
  t.same(other.errors, []);
  await other.close();
  deaf.terminate();
  const again = await edge.connect('deaf');
  await shadow.untilSubscribed('deaf');
  await shadow.delta('deaf', { text }, sent);
  await again.until(() => got(again).length === 1);
  await again.close();
});

void test('frames of the downlink that make no sense are counted, and the device gets the good ones between', async (t) => {
  const probe = await withProbe(t);
  const socket = await edge.connect('fuzzed', { protocols: [BINARY_PROTOCOL] });
  const text = await edge.connect('fuzzed-json');
  await shadow.untilSubscribed('fuzzed', 'fuzzed-json');
  const bytes = fc.uint8Array({ maxLength: 40 }).map((array) => Buffer.from(array));
  const target = fc.constantFrom('fuzzed', 'fuzzed-json');
  const good = fc
    .tuple(target, fc.constantFrom(3, 4, 6, 5), fc.double(), fc.json())
    .map(([id, type, version, json]) => {
      const header = Buffer.alloc(9);
      header[0] = type;
      header.writeDoubleLE(version, 1);
      return [Buffer.concat([Buffer.from(`${id}\0`), header, Buffer.from(json)])];
    });
  const noise = fc
    .tuple(target, fc.array(bytes, { maxLength: 4 }))
    .map(([id, rest]) => [Buffer.from(`${id}\0`), ...rest]);
  const longer = fc
    .tuple(target, bytes, bytes)
    .map(([id, more, rest]) => [Buffer.concat([Buffer.from(`${id}\0`), more, Buffer.alloc(9, 3), rest])]);
  let version = 1_000;
  await fc.assert(
    fc.asyncProperty(fc.array(fc.oneof(good, noise, longer), { maxLength: 10 }), async (messages) => {
      for (const frames of messages) await shadow.send(...frames);
      version++;
      for (const device of [socket, text]) {
        const id = device === socket ? 'fuzzed' : 'fuzzed-json';
        await shadow.delta(id, { good: true }, version);
        await device.until(() => device.replies.some((reply) => reply.type === 'delta' && reply.version === version));
        ok(!device.isClosed);
      }
    }),
    { numRuns: 150 },
  );
  for (const payload of ['', 'nonsense', '1', '[]', 'null', '"text"', '{"a":1', Buffer.from([0x7b, 0xff, 0x7d])]) {
    for (const type of [DownlinkType.delta, DownlinkType.command]) {
      const before = await dropped('malformed');
      await shadow.send(encodeDownlink('fuzzed', type, 1, payload));
      await settled(probe);
      equal(await dropped('malformed'), before + 1, String(payload));
    }
  }
  for (const command of [{}, { id: 1, name: 'a' }, { id: 'a' }, { id: 'a', name: 'a', expires: 'soon' }]) {
    const before = await dropped('malformed');
    await shadow.command('fuzzed', command);
    await settled(probe);
    equal(await dropped('malformed'), before + 1, JSON.stringify(command));
  }
  const logged = edge.process.output.split('passed over a message of the downlink').length - 1;
  t.ok(logged >= 1 && logged <= 5, `${logged} of ${await dropped('malformed')} were logged`);
  t.ok((await dropped('malformed')) > 100);
  t.ok(edge.process.running);
  await socket.close();
  await text.close();
});

for (const protocol of ['json', 'binary'] as const) {
  void test(`${protocol}: a device of ours does deltas and commands through the real edge, and gets its shadow`, async (t) => {
    const id = `ours-${protocol}`;
    const device = new Device({ url: `ws://127.0.0.1:${edge.port}`, id, protocol, minBackoffMs: 1, maxBackoffMs: 20 });
    t.teardown(() => device.close());
    device.onDelta((delta) => delta);
    device.onCommand(({ data }) => ({ did: data }));
    device.connect();
    await shadow.untilSubscribed(id);
    await shadow.delta(id, { throttle: 7 }, 3);
    await shadow.command(id, { id: 'c-1', name: 'do', data: 1, expires: Date.now() + 60_000 });
    const asked = device.getShadow();
    await until(() => shadow.of(id).includes('question'));
    await shadow.shadow(id, { state: { reported: { throttle: 7 } } });
    t.same(await asked, { state: { reported: { throttle: 7 } } });
    await until(() => device.lastSeq === 2);
    await device.flushed();
    await device.disconnect();
    await until(() => !shadow.subscribed.has(id));
    device.connect();
    await shadow.untilSubscribed(id);
    await shadow.command(id, { id: 'c-1', name: 'do', data: 1, expires: Date.now() + 60_000 });
    await until(() => device.lastSeq === 3);
    await device.flushed();
    const result = '{"id":"c-1","status":"SUCCEEDED","data":{"did":1}}';
    const stored = (await edge.stored(id)).filter(({ seq }) => seq > 0).map(({ kind, payload }) => [kind, payload]);
    t.same(stored, [
      [2, '{"throttle":7}'],
      [3, result],
      [3, result],
    ]);
    await shadow.close();
    await untilConnected(0);
    await t.rejects(device.getShadow(), { code: 'shadow_away', retry: true });
    t.ok(device.connected);
    shadow = await TestDownlink.listen(edge.downlinkPort);
    await untilConnected(1);
  });
}

void test('the edge ends cleanly with devices connected and shadow there', async (t) => {
  const socket = await edge.connect('end');
  await shadow.untilSubscribed('end');
  ask(socket);
  t.equal(await edge.stop(), 0);
  await until(() => shadow.subscribed.size === 0);
  await shadow.close();
});
