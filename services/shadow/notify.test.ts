import fc from 'fast-check';
import { setImmediate as turn } from 'node:timers/promises';
import { test, type Test } from 'tap';
import { DownlinkType } from '../../shared/downlink-frames.js';
import { commandsOf, deltasOf, ModelDownlink } from '../../test/support/model-downlink.js';
import { until } from '../../test/support/processes.js';
import { LOG, TestCommands } from '../../test/support/shadow-commands.js';
import { Notify } from './notify.js';
import { markOf } from './connection.js';
import type { Json } from './json.js';

const LIMITS = { documentBytes: 8_192, depth: 8 };
const REQUEST = { name: 'reboot', data: null, ttlMs: 60_000 };

class Bench {
  readonly shadow = new TestCommands(undefined, 50);
  readonly downlink = new ModelDownlink();
  readonly notify: Notify;

  constructor() {
    const { things, outbox } = this.shadow;
    things.onWritten((thing) => {
      if (thing.delta() === undefined) this.downlink.vanished(thing.id);
    });
    const onFailure = (error: unknown): void => {
      throw error;
    };
    const clock = (): number => this.shadow.nowMs;
    this.notify = new Notify({ things, downlink: this.downlink, outbox, log: LOG, onFailure, clock, retryMs: 5 });
  }

  /** As an application does. */
  desire(id: string, desired: Record<string, Json>): Promise<unknown> {
    return this.shadow.things.change([id], [], ([thing]) =>
      thing!.update('', { desired }, this.shadow.nowMs++, LIMITS),
    );
  }

  /** As the engine does with a record. */
  report(id: string, report: Record<string, Json>): Promise<void> {
    return this.shadow.things.step([id], [], ([thing]) => thing!.applyReport(report, this.shadow.nowMs++, LIMITS))
      .durable;
  }

  /** Waits until everybody has been looked at. */
  async settled(): Promise<void> {
    for (let quiet = 0; quiet < 20; quiet++) {
      await turn();
      if (this.notify.waiting > 0) quiet = 0;
    }
  }
}

function bench(t: Test): Bench {
  const made = new Bench();
  t.teardown(() => made.notify.stop());
  return made;
}

void test('a connection is given the delta and then the pending commands, in order', async (t) => {
  const test = bench(t);
  const { shadow, downlink } = test;
  shadow.things.know('press-1');
  const first = await shadow.commands.sendCommand('press-1', REQUEST);
  const second = await shadow.commands.sendCommand('press-1', REQUEST);
  await test.desire('press-1', { valve: 'open' });
  const { given } = downlink.arrive('press-1');
  await until(() => given.length === 3);
  t.strictSame(given[0], { type: DownlinkType.delta, version: 1, payload: '{"valve":"open"}' });
  t.strictSame(commandsOf(given), [first.id, second.id]);
  await until(async () => (await shadow.commands.getCommand(undefined, second.id)).state === 'SENT');
  t.equal((await shadow.commands.getCommand(undefined, first.id)).sends, 1);
});

void test('a device that has nothing to learn is sent nothing', async (t) => {
  const test = bench(t);
  test.shadow.things.know('press-1');
  const { given } = test.downlink.arrive('press-1');
  await test.report('press-1', { valve: 'open' });
  await test.desire('press-1', { valve: 'open' });
  await test.settled();
  t.strictSame(
    given.filter(({ type }) => type !== 'vanished'),
    [],
  );
});

void test('desired while the device is away: exactly one delta when it comes back', async (t) => {
  const test = bench(t);
  await test.desire('press-1', { valve: 'open' });
  await test.desire('press-1', { speed: 3 });
  const { given } = test.downlink.arrive('press-1');
  await until(() => given.length > 0);
  await test.settled();
  t.strictSame(deltasOf(given), ['{"valve":"open","speed":3}']);
});

void test('a delta is sent once on a connection, however often the thing is written', async (t) => {
  const test = bench(t);
  test.shadow.things.know('press-1');
  const { given } = test.downlink.arrive('press-1');
  await test.desire('press-1', { valve: 'open' });
  await until(() => deltasOf(given).length === 1);
  for (let count = 0; count < 5; count++) await test.report('press-1', { temperature: count });
  await test.settled();
  t.equal(deltasOf(given).length, 1);
  await test.desire('press-1', { speed: 1 });
  await until(() => deltasOf(given).length === 2);
});

void test('a delta that vanished and arises again is sent again', async (t) => {
  const test = bench(t);
  test.shadow.things.know('press-1');
  const { given } = test.downlink.arrive('press-1');
  await test.desire('press-1', { valve: 'open' });
  await until(() => deltasOf(given).length === 1);
  await test.report('press-1', { valve: 'open' });
  await test.settled();
  t.equal(deltasOf(given).length, 1, 'nothing is sent when it vanishes');
  await test.report('press-1', { valve: 'shut' });
  await until(() => deltasOf(given).length === 2);
});

void test('a delta that vanishes and arises again while its device has to wait is sent again', async (t) => {
  const test = bench(t);
  test.shadow.things.know('press-1');
  const { given } = test.downlink.arrive('press-1');
  await test.desire('press-1', { valve: 'open' });
  await until(() => deltasOf(given).length === 1);
  test.downlink.blocked.add('press-1');
  test.downlink.ask('press-1');
  await until(() => test.downlink.refused > 0);
  await test.report('press-1', { valve: 'open' });
  await test.report('press-1', { valve: 'shut' });
  test.downlink.blocked.clear();
  await until(() => deltasOf(given).length === 2);
});

void test('every new connection is given the delta and the commands anew', async (t) => {
  const test = bench(t);
  test.shadow.things.know('press-1');
  const { id } = await test.shadow.commands.sendCommand('press-1', REQUEST);
  await test.desire('press-1', { valve: 'open' });
  for (let count = 1; count <= 3; count++) {
    const { given } = test.downlink.arrive('press-1');
    await until(() => given.length === 2);
    await until(async () => (await test.shadow.commands.getCommand(undefined, id)).sends === count);
  }
  const sentAt = (await test.shadow.commands.getCommand(undefined, id)).sentAt;
  t.ok(sentAt !== undefined && sentAt <= test.shadow.nowMs);
  test.shadow.result('press-1', { id, status: 'SUCCEEDED' });
  const { given } = test.downlink.arrive('press-1');
  await until(() => given.length === 1);
  await test.settled();
  t.strictSame(commandsOf(given), [], 'not once it is over');
});

void test('a command is not sent before it is durable, and at once when it is', async (t) => {
  const test = bench(t);
  const { things, commands } = test.shadow;
  things.know('press-1');
  things.flushesItself = false;
  const sending = commands.sendCommand('press-1', REQUEST);
  await until(() => things.peek('press-1').pending.length === 1);
  const { given } = test.downlink.arrive('press-1');
  await test.settled();
  t.strictSame(given, []);
  things.flushesItself = true;
  things.flush();
  const { id } = await sending;
  await until(() => commandsOf(given).length === 1);
  t.strictSame(commandsOf(given), [id]);
});

void test('a command whose write was interrupted is sent when it is written after all, and not before', async (t) => {
  const test = bench(t);
  const { things, commands } = test.shadow;
  things.know('press-1');
  things.flushesItself = false;
  const sending = commands.sendCommand('press-1', REQUEST);
  await until(() => things.peek('press-1').pending.length === 1);
  things.interrupt();
  await t.rejects(sending, { code: 'store', retry: true });
  const { given } = test.downlink.arrive('press-1');
  await test.settled();
  t.strictSame(given, []);
  things.flushesItself = true;
  things.flush();
  await until(() => commandsOf(given).length === 1);
});

void test('a command that was sent and not yet written down as SENT is sent again after a crash', async (t) => {
  const before = bench(t);
  before.shadow.things.know('press-1');
  const { id } = await before.shadow.commands.sendCommand('press-1', REQUEST);
  before.shadow.things.flushesItself = false;
  const { given } = before.downlink.arrive('press-1');
  await until(() => given.length === 1);

  const after = new TestCommands(before.shadow.store);
  const downlink = new ModelDownlink();
  const { things, outbox } = after;
  const notify = new Notify({
    things,
    downlink,
    outbox,
    log: LOG,
    onFailure: (error) => t.threw(error),
    clock: () => after.nowMs,
  });
  t.equal((await after.commands.getCommand(undefined, id)).state, 'QUEUED');
  const again = downlink.arrive('press-1');
  await until(() => again.given.length === 1);
  t.strictSame(commandsOf(again.given), [id]);
  await until(async () => (await after.commands.getCommand(undefined, id)).state === 'SENT');
  await notify.stop();
  before.shadow.things.flush();
});

void test('a command whose time is past is not sent', async (t) => {
  const test = bench(t);
  test.shadow.things.know('press-1');
  await test.shadow.commands.sendCommand('press-1', REQUEST);
  const { id } = await test.shadow.commands.sendCommand('press-1', { ...REQUEST, ttlMs: 70_000 });
  test.shadow.nowMs += 60_000;
  const { given } = test.downlink.arrive('press-1');
  await until(() => given.length > 0);
  await test.settled();
  t.strictSame(commandsOf(given), [id]);
});

void test('a question is answered with the shadow, without what the device knows itself', async (t) => {
  const test = bench(t);
  await test.desire('press-1', { valve: 'open' });
  const { given } = test.downlink.arrive('press-1');
  test.downlink.arrive('press-2');
  test.downlink.ask('press-1');
  test.downlink.ask('press-2');
  const answersOf = (id: string): string[] => {
    const { given } = test.downlink.current(id)!;
    return given.filter(({ type }) => type === DownlinkType.shadow).map(({ payload }) => payload);
  };
  await until(() => answersOf('press-2').length === 1);
  t.strictSame(answersOf('press-2'), ['null']);
  const answer = JSON.parse(answersOf('press-1')[0]!) as Record<string, Json>;
  t.strictSame(Object.keys(answer).sort(), ['metadata', 'state', 'timestamp', 'version']);
  t.match(answer, { state: { desired: { valve: 'open' } }, version: 1 });
  t.equal(deltasOf(given).length, 1);
  test.downlink.ask('press-1');
  await until(() => answersOf('press-1').length === 2);
});

void test('what an edge had no room for is sent when it has, in order and once, and others do not wait', async (t) => {
  const test = bench(t);
  const ids = Array.from({ length: 3_000 }, (_, index) => `press-${index}`);
  for (const id of ids) test.shadow.things.know(id);
  const made = await test.shadow.commands.sendCommands(ids, REQUEST);
  await test.shadow.commands.sendCommands(ids, REQUEST);
  await test.shadow.things.change(ids, [], (things) => {
    for (const thing of things) thing.update('', { desired: { valve: 'open' } }, 1, LIMITS);
  });
  test.shadow.store.largestStep = 0;
  for (const id of ids.slice(1)) test.downlink.blocked.add(id);
  for (const id of ids) test.downlink.arrive(id);
  await until(() => test.downlink.current('press-0')!.given.length === 3);
  for (const id of ids.slice(1)) test.downlink.ask(id);
  await until(() => test.downlink.refused > 10_000);
  test.downlink.blocked.clear();
  await until(() => test.downlink.told.every(({ given }) => commandsOf(given).length === 2));
  await test.settled();
  const orders = new Set(test.downlink.told.map(({ given }) => given.map(({ type }) => type).join()));
  t.strictSame([...orders].sort(), ['3,4,4', 'asked,3,6,4,4']);
  t.strictSame(
    test.downlink.told.map(({ given }) => commandsOf(given)[0]),
    made.map(({ id }) => id),
  );
  t.ok(test.shadow.store.largestStep <= 1_000);
});

void test('a command does not overtake one that had no room', async (t) => {
  const test = bench(t);
  test.shadow.things.know('press-1');
  const first = await test.shadow.commands.sendCommand('press-1', REQUEST);
  const second = await test.shadow.commands.sendCommand('press-1', REQUEST);
  test.downlink.squeezed.add('press-1');
  const { given } = test.downlink.arrive('press-1');
  await until(() => given.length === 2);
  t.strictSame(commandsOf(given), [first.id, second.id]);
  t.equal(test.downlink.refused, 1);
});

void test('devices are told once the store is back', async (t) => {
  const test = bench(t);
  await test.desire('press-1', { valve: 'open' });
  test.shadow.store.ready = false;
  const { given } = test.downlink.arrive('press-1');
  await until(() => test.notify.waiting === 1);
  test.shadow.store.ready = true;
  await until(() => given.length === 1);
  t.equal(test.notify.waiting, 0);
});

void test('a change gets through while a storm of arrivals is worked off', async (t) => {
  const test = bench(t);
  test.downlink.arrive('press-1');
  await test.settled();
  const storm = Array.from({ length: 50_000 }, (_, index) => `pump-${index}`);
  for (const id of storm) test.downlink.arrive(id);
  await test.desire('press-1', { valve: 'open' });
  await until(() => test.downlink.current('press-1')!.given.length === 1);
  t.ok(test.notify.waiting > 0, 'the storm is not over');
  await until(() => test.notify.waiting === 0);
  t.ok(test.shadow.store.largestStep <= 1_000, 'a thousand things at a time');
});

void test('a long delta is remembered by its digest, and none is taken for another', (t) => {
  const long = JSON.stringify({ text: 'x'.repeat(1_000) });
  t.equal(markOf(undefined), '');
  t.equal(markOf({ text: '{"a":1}' }), '{"a":1}');
  t.equal(markOf({ text: long }).length, 44);
  t.not(markOf({ text: long }), markOf({ text: long.replace('xx', 'xy') }));
  t.end();
});

type Step = readonly [kind: (typeof KINDS)[number], device: number, value: number];
const KINDS = [
  ...([
    'arrive',
    'leave',
    'desire',
    'report',
    'send',
    'result',
    'cancel',
    'block',
    'unblock',
    'squeeze',
    'ask',
    'turn',
  ] as const),
  'settle',
] as const;
const step: fc.Arbitrary<Step> = fc.tuple(fc.constantFrom(...KINDS), fc.nat(2), fc.nat(2));

async function take(test: Bench, [kind, device, value]: Step, under: Promise<unknown>[]): Promise<void> {
  const id = `press-${device}`;
  const { downlink, shadow } = test;
  const pending = shadow.things.peek(id).pending[value];
  const key = `key${value % 2}`;
  if (kind === 'arrive') downlink.arrive(id);
  else if (kind === 'leave') downlink.leave(id);
  else if (kind === 'desire') under.push(test.desire(id, { [key]: value }));
  else if (kind === 'report') under.push(test.report(id, { [key]: value }));
  else if (kind === 'send') under.push(shadow.commands.sendCommand(id, REQUEST));
  else if (kind === 'result') shadow.result(id, { id: pending ?? '', status: 'SUCCEEDED' });
  else if (kind === 'cancel' && pending !== undefined) {
    // A result may be faster: then it is 409, or 404 where the command is not durable yet.
    under.push(shadow.commands.cancelCommand(id, pending).catch(() => undefined));
  } else if (kind === 'block') downlink.blocked.add(id);
  else if (kind === 'unblock') downlink.blocked.delete(id);
  else if (kind === 'squeeze') downlink.squeezed.add(id);
  else if (kind === 'ask') downlink.ask(id);
  else if (kind === 'turn') await turn();
  else if (downlink.blocked.size === 0) await test.settled();
}

/** @returns what is wrong with what the connections were given, or undefined */
async function problemOf(test: Bench): Promise<string | undefined> {
  const { downlink, shadow } = test;
  const sends = new Map<string, number>();
  for (const { deviceId, connection, given } of downlink.told) {
    let last = '';
    for (const { type, payload } of given) {
      if (type === DownlinkType.delta && payload === last) return `${deviceId} was given ${payload} twice`;
      if (type === DownlinkType.delta || type === 'vanished') last = payload;
    }
    const commands = commandsOf(given);
    if (new Set(commands).size !== commands.length) return `${deviceId} was given a command twice`;
    if ([...commands].sort().join() !== commands.join()) return `${deviceId} was given commands out of order`;
    for (const id of commands) sends.set(id, (sends.get(id) ?? 0) + 1);
    if (downlink.find(deviceId) !== connection) continue;
    const thing = shadow.things.peek(deviceId);
    const delta = thing.delta()?.text ?? '';
    if (delta !== '' && delta !== last) return `${deviceId} was not given ${delta}`;
    const missing = thing.pending.filter((id) => !commands.includes(id));
    if (missing.length > 0) return `${deviceId} was not given ${missing.join()}`;
    const kinds = given.map(({ type }) => type);
    if (kinds.lastIndexOf('asked') > kinds.lastIndexOf(DownlinkType.shadow)) return `${deviceId} was not answered`;
  }
  for (const [id, count] of sends) {
    const command = await shadow.commands.getCommand(undefined, id);
    if (command.sends !== count) return `${id} was sent ${count} times, and has ${command.sends}`;
  }
  return undefined;
}

void test('whatever happens in whatever order, each connection is given what it needs, once', async (t) => {
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 60 }), fc.nat(2), async (steps, readTurns) => {
      const test = new Bench();
      test.shadow.store.readTurns = readTurns;
      for (const device of [0, 1, 2]) test.shadow.things.know(`press-${device}`);
      const under: Promise<unknown>[] = [];
      for (const each of steps) await take(test, each, under);
      await Promise.all(under);
      test.downlink.blocked.clear();
      await until(() => test.notify.waiting === 0);
      await test.settled();
      await test.notify.stop();
      const problem = await problemOf(test);
      if (problem !== undefined) throw new Error(problem);
    }),
    { numRuns: 300 },
  );
  t.pass();
});
