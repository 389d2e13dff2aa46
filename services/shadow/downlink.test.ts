import fc from 'fast-check';
import { test, type Test } from 'tap';
import { decodeUplink, DownlinkType } from '../../shared/downlink-frames.js';
import type { HoldfastError } from '../../shared/errors.js';
import { Registry } from '../../shared/metrics.js';
import { DownlinkEdge, EdgeProcess } from '../../test/support/downlink-edge.js';
import { freePort } from '../../test/support/ports.js';
import { until } from '../../test/support/processes.js';
import { LOG, TestCommands } from '../../test/support/shadow-commands.js';
import type { Connection } from './connection.js';
import { DownlinkMetrics } from './downlink-metrics.js';
import { Downlink } from './downlink.js';
import { Notify } from './notify.js';

const LIMITS = { documentBytes: 8_192, depth: 8 };
const REQUEST = { name: 'reboot', data: null, ttlMs: 60_000 };

/** A downlink that nobody sends on but the test. */
class TestDownlink {
  readonly arrivals: Connection[] = [];
  readonly questions: Connection[] = [];
  readonly registry = new Registry();
  readonly downlink: Downlink;

  constructor(readonly endpoint: string) {
    const metrics = new DownlinkMetrics(this.registry, { devices: () => this.downlink.devices, waiting: () => 0 });
    this.downlink = new Downlink(endpoint, metrics, LOG, (error) => {
      throw error;
    });
    this.downlink.listen({
      onArrival: (connection) => this.arrivals.push(connection),
      onQuestion: (connection) => this.questions.push(connection),
    });
  }

  async metric(name: string): Promise<number> {
    const { values } = await this.registry.getSingleMetric(`holdfast_downlink_${name}`)!.get();
    return values.reduce((sum, { value }) => sum + value, 0);
  }
}

/** ZeroMQ closes sockets a little after close(): the port of one that this process has closed may still be taken. */
async function listen(downlink: Downlink): Promise<void> {
  await until(async () => {
    try {
      await downlink.start();
      return true;
    } catch (error) {
      if ((error as HoldfastError).code !== 'listen_failed') throw error;
      return false;
    }
  });
}

async function started(t: Test, endpoint?: string): Promise<TestDownlink> {
  const made = new TestDownlink(endpoint ?? `tcp://127.0.0.1:${await freePort()}`);
  await listen(made.downlink);
  t.teardown(() => made.downlink.stop());
  return made;
}

function edge(t: Test, endpoint: string, receiveHighWaterMark?: number): DownlinkEdge {
  const made = new DownlinkEdge(endpoint, receiveHighWaterMark);
  t.teardown(() => made.close());
  return made;
}

interface Telling {
  readonly shadow: TestCommands;
  readonly downlink: Downlink;
  readonly notify: Notify;
  readonly endpoint: string;
}

/** A downlink on which devices are told what they need. */
async function telling(t: Test, given?: string): Promise<Telling> {
  const shadow = new TestCommands();
  const { things, outbox } = shadow;
  const onFailure = (error: unknown): void => {
    throw error;
  };
  const endpoint = given ?? `tcp://127.0.0.1:${await freePort()}`;
  const downlink = new Downlink(endpoint, shadow.metrics, LOG, onFailure);
  const notify = new Notify({ things, downlink, outbox, log: LOG, onFailure, clock: () => shadow.nowMs });
  await listen(downlink);
  t.teardown(async () => {
    await notify.stop();
    await downlink.stop();
  });
  return { shadow, downlink, notify, endpoint };
}

void test('a device is here from its subscription to its cancellation, and every subscription is a new connection', async (t) => {
  const { downlink, arrivals, endpoint } = await started(t);
  const one = edge(t, endpoint);
  one.subscribe('press-1');
  await until(() => downlink.find('press-1') !== undefined);
  const first = downlink.find('press-1');
  one.cancel('press-1');
  one.subscribe('press-1');
  await until(() => arrivals.length === 2);
  t.not(downlink.find('press-1'), first);
  t.equal(downlink.devices, 1);
  one.cancel('press-1');
  await until(() => downlink.devices === 0);
  t.equal(downlink.find('press-1'), undefined);
});

void test('a device that two edges have stays until both have let go of it, in either order', async (t) => {
  const { downlink, arrivals, endpoint } = await started(t);
  const [one, two] = [edge(t, endpoint), edge(t, endpoint)];
  one.subscribe('press-1');
  await until(() => arrivals.length === 1);
  two.subscribe('press-1');
  await until(() => arrivals.length === 2);
  t.equal(downlink.find('press-1')?.subscriptions, 2);
  one.cancel('press-1');
  await until(() => downlink.find('press-1')?.subscriptions === 1);
  t.ok(await downlink.send('press-1', DownlinkType.delta, 7, '{"a":1}'));
  await until(() => two.received.length === 1);
  t.match(two.received[0], { deviceId: 'press-1', type: DownlinkType.delta, version: 7 });
  t.equal(two.received[0]!.payload.toString(), '{"a":1}');
  t.equal(one.received.length, 0);
  two.cancel('press-1');
  await until(() => downlink.devices === 0);
});

void test('what is sent to a device comes to that device only', async (t) => {
  const { downlink, arrivals, endpoint } = await started(t);
  const one = edge(t, endpoint);
  for (const id of ['a', 'ab', 'a.b', 'a:b']) one.subscribe(id);
  await until(() => arrivals.length === 4);
  for (const id of ['a', 'ab', 'a.b', 'gone']) t.ok(await downlink.send(id, DownlinkType.command, 0, `{"to":"${id}"}`));
  await until(() => one.received.length === 3);
  t.strictSame(
    one.received.map(({ deviceId, payload }) => [deviceId, payload.toString()]),
    ['a', 'ab', 'a.b'].map((id) => [id, `{"to":"${id}"}`]),
  );
  t.equal(one.malformed, 0);
});

void test('an edge killed with -9 takes its devices with it, and not those that another edge has', async (t) => {
  const { downlink, endpoint } = await started(t);
  const stays = edge(t, endpoint);
  stays.subscribe('press-3');
  await until(() => downlink.devices === 1);
  const killed = new EdgeProcess(endpoint, 'press', 500);
  t.teardown(() => killed.kill());
  await until(() => downlink.devices === 500);
  t.equal(downlink.find('press-3')?.subscriptions, 2);
  await killed.kill();
  await until(() => downlink.devices === 1);
  t.equal(downlink.find('press-3')?.subscriptions, 1);
});

void test('a shadow that starts again on the same port hears of every device, with no word of the edge', async (t) => {
  const first = new TestDownlink(`tcp://127.0.0.1:${await freePort()}`);
  await first.downlink.start();
  const one = edge(t, first.endpoint);
  for (let device = 0; device < 200; device++) one.subscribe(`press-${device}`);
  await until(() => first.downlink.devices === 200);
  one.cancel('press-0');
  await until(() => first.downlink.devices === 199);
  await first.downlink.stop();
  const second = await started(t, first.endpoint);
  await until(() => second.downlink.devices === 199);
  t.ok(await second.downlink.send('press-7', DownlinkType.delta, 1, '{}'));
  await until(() => one.received.length === 1);
});

void test('a port that is taken is said', async (t) => {
  const { endpoint } = await started(t);
  const second = new TestDownlink(endpoint);
  await t.rejects(second.downlink.start(), { code: 'listen_failed', message: new RegExp(endpoint) });
  await second.downlink.stop();
});

void test('a question is heard from a device that is here', async (t) => {
  const { questions, downlink, endpoint } = await started(t);
  const one = edge(t, endpoint);
  one.subscribe('press-1');
  // What is no subscription and comes before the connection, ZeroMQ drops.
  await until(() => downlink.devices === 1);
  one.ask('nobody');
  one.ask('press-1');
  await until(() => questions.length === 1);
  t.equal(questions[0], downlink.find('press-1'));
  t.equal(questions[0]!.asked, true);
});

void test('what makes no sense is counted and passed over, and costs nothing else', async (t) => {
  const test = await started(t);
  const one = edge(t, test.endpoint);
  one.subscribe('press-1');
  await until(() => test.downlink.devices === 1);
  const bad = [
    '',
    '\x03x',
    '\x02',
    '\x02-bad',
    '\x01',
    '\x01x',
    '\x01\0',
    '\x01a\0b\0',
    '\x01a b\0',
    `\x01${'x'.repeat(129)}\0`,
  ];
  for (const frame of bad) one.raw(Buffer.from(frame, 'latin1'));
  one.subscribe('press-2');
  await until(() => test.downlink.devices === 2);
  t.equal(await test.metric('malformed_total'), bad.length);
});

void test('any frames of an edge leave the downlink counting right', async (t) => {
  const test = await started(t);
  const one = edge(t, test.endpoint);
  one.subscribe('first-one');
  await until(() => test.downlink.devices === 1);
  const id = fc.constantFrom('press-1', 'press-2', 'p', '');
  const good = fc
    .tuple(fc.constantFrom('\0', '\x01', '\x02'), id, fc.constantFrom('\0', ''))
    .map((parts) => parts.join(''));
  const frame = fc.oneof(
    good,
    fc.uint8Array({ maxLength: 140 }).map((bytes) => Buffer.from(bytes).toString('latin1')),
  );
  const subscribed = new Set<string>();
  for (const text of fc.sample(frame, 3_000)) {
    const bytes = Buffer.from(text, 'latin1');
    const message = decodeUplink(bytes);
    // The edge's side of the contract: one subscription at a time, and no cancellation of what it has not.
    if (message?.type === 'subscribe' && subscribed.has(message.deviceId)) continue;
    if (message?.type === 'subscribe') subscribed.add(message.deviceId);
    if (message?.type === 'cancel') subscribed.delete(message.deviceId);
    one.raw(bytes);
  }
  one.subscribe('last-one');
  await until(() => test.downlink.find('last-one') !== undefined);
  const here = [...subscribed].filter((id) => /^[A-Za-z0-9][A-Za-z0-9._:-]{0,127}$/.test(id));
  for (const id of here) t.equal(test.downlink.find(id)?.subscriptions, 1, id);
  t.equal(test.downlink.devices, here.length + 2);
});

void test('an edge that does not read stalls nobody else: its messages are refused, and it is cut off', async (t) => {
  const { downlink, endpoint } = await started(t);
  const [slow, quick] = [edge(t, endpoint, 1), edge(t, endpoint)];
  slow.subscribe('slow-1');
  quick.subscribe('quick-1');
  await until(() => downlink.devices === 2);
  slow.stopReading();
  const payload = JSON.stringify('x'.repeat(20_000));
  let sent = 0;
  while (await downlink.send('slow-1', DownlinkType.delta, 1, payload)) sent++;
  t.ok(sent >= 2_000 && sent < 10_000, `${sent} messages had room`);
  for (let count = 0; count < 500; count++) t.equal(await downlink.send('quick-1', DownlinkType.delta, 1, '{}'), true);
  await until(() => quick.received.length === 500);
  t.equal(await downlink.send('slow-1', DownlinkType.delta, 1, payload), false);
  // It answers no heartbeats either, because ZeroMQ reads nothing more of what has no room.
  await until(() => downlink.find('slow-1') === undefined);
  t.equal(downlink.devices, 1);
});

void test('100,000 subscriptions of an edge are worked off, each device is told, a thousand at a time', async (t) => {
  const DEVICES = 100_000;
  const { shadow, downlink, notify, endpoint } = await telling(t);
  for (let device = 0; device < DEVICES; device++) {
    shadow.things.peek(`pump-${device}`).update('', { desired: { valve: 'open' } }, 1, LIMITS);
  }
  const storm = new EdgeProcess(endpoint, 'pump', DEVICES);
  t.teardown(() => storm.kill());
  await until(() => downlink.devices === DEVICES && notify.waiting === 0);
  await until(async () => (await storm.received()) === DEVICES);
  t.ok(shadow.store.largestStep <= 1_000);
  await storm.kill();
  await until(() => downlink.devices === 0);
});

void test('a shadow that ends in the middle of sending, again and again, fails nothing and leaves its edges alive', async (t) => {
  const DEVICES = 3_000;
  const endpoint = `tcp://127.0.0.1:${await freePort()}`;
  const one = new EdgeProcess(endpoint, 'pump', DEVICES, true);
  t.teardown(() => one.kill());
  for (let round = 0, before = 0; round < 10; round++) {
    const { shadow, downlink, notify } = await telling(t, endpoint);
    for (let device = 0; device < DEVICES; device++) {
      shadow.things.peek(`pump-${device}`).update('', { desired: { valve: 'open' } }, 1, LIMITS);
    }
    await until(async () => (await one.received()) > before);
    await downlink.stop();
    t.equal(await downlink.send('pump-0', DownlinkType.delta, 1, '{}'), false);
    await notify.stop();
    before = await one.received();
    t.ok(one.running);
  }
});

void test('an edge killed while a command is under way: the next one brings it, and it ends once', async (t) => {
  const { shadow, downlink, endpoint } = await telling(t);
  shadow.things.know('press-0');
  const killed = new EdgeProcess(endpoint, 'press', 1);
  t.teardown(() => killed.kill());
  await until(() => downlink.devices === 1);
  const { id } = await shadow.commands.sendCommand('press-0', REQUEST);
  await until(async () => (await shadow.commands.getCommand(undefined, id)).state === 'SENT');
  await killed.kill();
  await until(() => downlink.devices === 0);
  const next = edge(t, endpoint);
  next.subscribe('press-0');
  await until(() => next.received.length === 1);
  t.equal((JSON.parse(next.received[0]!.payload.toString()) as { id: string }).id, id);
  t.equal(shadow.result('press-0', { id, status: 'SUCCEEDED' }), undefined);
  t.equal(shadow.result('press-0', { id, status: 'SUCCEEDED' }), 'command_over');
  await until(async () => (await shadow.commands.getCommand(undefined, id)).sends === 2);
  t.equal(await shadow.counted('SUCCEEDED'), 1);
});
