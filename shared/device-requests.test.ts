import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { appendFileSync, mkdirSync, readFileSync, rmdirSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test, type Test } from 'tap';
import { until } from '../test/support/processes.js';
import { WsEdge, type WsEdgeOptions } from '../test/support/ws-edge.js';
import { Device, CommandRejected, type DeviceOptions, type DeviceProtocol } from './device.js';
import type { HoldfastError } from './errors.js';
import { packagePath } from './paths.js';
import { testDirectory } from '../test/support/directory.js';

const PROTOCOLS: readonly DeviceProtocol[] = ['json', 'binary'];
const DELTA = 3;
const COMMAND = 4;

async function setUp(
  t: Test,
  edgeOptions: WsEdgeOptions = {},
  options: Partial<DeviceOptions> = {},
): Promise<{ edge: WsEdge; device: Device }> {
  const edge = await WsEdge.start(edgeOptions);
  const device = newDevice(edge, options);
  t.teardown(async () => {
    await device.close();
    await edge.stop();
  });
  return { edge, device };
}

function newDevice(edge: WsEdge, options: Partial<DeviceOptions> = {}): Device {
  return new Device({ url: edge.url, id: 'press-1', minBackoffMs: 1, maxBackoffMs: 20, ...options });
}

async function opened(device: Device): Promise<void> {
  const open = once(device, 'open');
  device.connect();
  await open;
}

/** The payloads of the records of a kind that the edge has taken, in order. */
function payloads(edge: WsEdge, kind: 2 | 3): unknown[] {
  return edge.received.filter((record) => record.kind === kind).map(({ payload }) => JSON.parse(payload) as unknown);
}

function command(id: string, more: object = {}): object {
  return { id, name: 'do', data: { n: 1 }, ...more };
}

for (const protocol of PROTOCOLS) {
  void test(`${protocol}: a command is done and answered with what its handler says, resolves to, or throws`, async (t) => {
    const { edge, device } = await setUp(t, {}, { protocol });
    const seen: unknown[] = [];
    device.onCommand(async (given) => {
      seen.push(given);
      if (given.id === 'c-1') return { done: true };
      if (given.id === 'c-2') return undefined;
      if (given.id === 'c-3') throw new CommandRejected('not while the door is open');
      await new Promise(setImmediate);
      throw new Error('the motor does not turn');
    });
    await opened(device);
    const expires = Date.now() + 60_000;
    for (let n = 1; n <= 4; n++) edge.tell(COMMAND, 0, command(`c-${n}`, { expires }));
    await until(() => payloads(edge, 3).length === 4);
    t.same(payloads(edge, 3), [
      { id: 'c-1', status: 'SUCCEEDED', data: { done: true } },
      { id: 'c-2', status: 'SUCCEEDED', data: null },
      { id: 'c-3', status: 'REJECTED', data: { message: 'not while the door is open' } },
      { id: 'c-4', status: 'FAILED', data: { message: 'the motor does not turn' } },
    ]);
    t.same(seen[0], { id: 'c-1', name: 'do', data: { n: 1 }, expires });
    await device.flushed();
  });

  void test(`${protocol}: what a delta asks for is done and reported, one after the other, and nothing for undefined`, async (t) => {
    const { edge, device } = await setUp(t, {}, { protocol });
    const seen: unknown[] = [];
    device.onDelta(async (delta, version) => {
      seen.push([delta, version]);
      await new Promise(setImmediate);
      return version === 8 ? undefined : delta;
    });
    await opened(device);
    edge.tell(DELTA, 7, { valve: 'closed' });
    await until(() => payloads(edge, 2).length === 1);
    edge.tell(DELTA, 8, { valve: 'open' });
    await until(() => seen.length === 2);
    // These come while none, or one, is being done: the newest says all.
    for (let version = 9; version <= 20; version++) edge.tell(DELTA, version, { n: version });
    await until(() => payloads(edge, 2).some((report) => (report as { n?: number }).n === 20));
    t.same(seen.slice(0, 2), [
      [{ valve: 'closed' }, 7],
      [{ valve: 'open' }, 8],
    ]);
    t.same(seen.at(-1), [{ n: 20 }, 20]);
    t.same(payloads(edge, 2)[0], { valve: 'closed' });
    t.equal(payloads(edge, 2).length, seen.length - 1);
  });

  void test(`${protocol}: the shadow is asked for once for all who want it, and each gets the answer`, async (t) => {
    let shadow: object | null | undefined = { state: { desired: { n: 1 } } };
    const { edge, device } = await setUp(t, { shadowFor: () => shadow, ackFor: () => false }, { protocol });
    await t.rejects(device.getShadow(), { code: 'shadow_away', retry: true, message: /not connected/ });
    await opened(device);
    t.same(await Promise.all([device.getShadow(), device.getShadow()]), [shadow, shadow]);
    t.equal(edge.questions, 1);
    shadow = null;
    t.equal(await device.getShadow(), null);
    // A refused question must not be taken for the refusal of the records that are under way.
    device.send({ n: 1 });
    device.send({ n: 2 });
    await until(() => edge.received.length === 2);
    shadow = undefined;
    await t.rejects(device.getShadow(), { code: 'shadow_away', retry: true, message: /no shadows here/ });
    t.ok(device.connected, 'the connection stays');
    t.same([device.unacked, edge.connections], [2, 1]);
  });
}

void test('a question whose connection ends is rejected, and so is one that nobody answers', async (t) => {
  const { edge, device } = await setUp(t, { shadowFor: () => 'silence' });
  await opened(device);
  const asked = t.rejects(device.getShadow(), { code: 'shadow_away', retry: true, message: /the connection ended/ });
  await until(() => edge.questions === 1);
  edge.cut();
  await asked;
  if (!device.connected) await once(device, 'open');
  await t.rejects(device.getShadow(), { code: 'shadow_away', retry: true, message: /within 10000 ms/ });
  t.ok(device.connected);
});

void test('a command is done once however often it arrives, and answered again where its answer was acked', async (t) => {
  let acks = false;
  const { edge, device } = await setUp(t, { ackFor: () => acks });
  const done: string[] = [];
  let finish: (() => void) | undefined;
  device.onCommand(async ({ id }) => {
    done.push(id);
    await new Promise<void>((resolve) => (finish = resolve));
    return { times: done.length };
  });
  await opened(device);
  for (let n = 0; n < 3; n++) edge.tell(COMMAND, 0, command('c-1'));
  await until(() => finish !== undefined);
  edge.tell(COMMAND, 0, command('c-1'));
  edge.tell(COMMAND, 0, command('c-2'));
  edge.tell(COMMAND, 0, command('c-2'));
  finish!();
  await until(() => done.length === 2);
  finish!();
  await until(() => payloads(edge, 3).length === 2);
  edge.tell(COMMAND, 0, command('c-1'));
  edge.tell(COMMAND, 0, command('probe'));
  await until(() => done.length === 3);
  finish!();
  await until(() => payloads(edge, 3).length === 3);
  const first = { id: 'c-1', status: 'SUCCEEDED', data: { times: 1 } };
  t.same(payloads(edge, 3), [
    first,
    { id: 'c-2', status: 'SUCCEEDED', data: { times: 2 } },
    { id: 'probe', status: 'SUCCEEDED', data: { times: 3 } },
  ]);
  acks = true;
  edge.cut();
  await device.flushed();
  const before = payloads(edge, 3).length;
  edge.tell(COMMAND, 0, command('c-1'));
  await until(() => payloads(edge, 3).length === before + 1);
  t.same(payloads(edge, 3).at(-1), first, 'the same result');
  t.same(done, ['c-1', 'c-2', 'probe']);
});

void test('an expired command is rejected and not done, also where it expired while it waited', async (t) => {
  const { edge, device } = await setUp(t);
  const done: string[] = [];
  let finish: (() => void) | undefined;
  device.onCommand(async ({ id }) => {
    done.push(id);
    await new Promise<void>((resolve) => (finish = resolve));
  });
  await opened(device);
  edge.tell(COMMAND, 0, command('late', { expires: Date.now() - 1 }));
  await until(() => payloads(edge, 3).length === 1);
  const expires = Date.now() + 50;
  edge.tell(COMMAND, 0, command('long'));
  edge.tell(COMMAND, 0, command('waits', { expires }));
  await until(() => finish !== undefined && Date.now() > expires);
  finish!();
  await until(() => payloads(edge, 3).length === 3);
  const rejected = { status: 'REJECTED', data: { message: 'expired' } };
  t.same(payloads(edge, 3), [
    { id: 'late', ...rejected },
    { id: 'long', status: 'SUCCEEDED', data: null },
    { id: 'waits', ...rejected },
  ]);
  t.same(done, ['long']);
});

void test('a result that finds the buffer full is kept, and sent once there is room', async (t) => {
  let acks = false;
  const { edge, device } = await setUp(t, { ackFor: () => acks }, { buffer: { maxRecords: 3 } });
  device.onCommand(() => 'done');
  await opened(device);
  for (let n = 0; n < 3; n++) device.send({ n });
  edge.tell(COMMAND, 0, command('c-1'));
  edge.tell(COMMAND, 0, command('c-2'));
  await until(() => edge.received.length === 3);
  await edge.settle();
  t.same(payloads(edge, 3), []);
  acks = true;
  edge.cut();
  await until(() => payloads(edge, 3).length === 2);
  t.same(payloads(edge, 3), [
    { id: 'c-1', status: 'SUCCEEDED', data: 'done' },
    { id: 'c-2', status: 'SUCCEEDED', data: 'done' },
  ]);
});

void test('a result that is no JSON, too long, or refused by the edge still ends its command', async (t) => {
  const { edge, device } = await setUp(t, {
    errorFor: ({ kind, payload }) => (kind === 3 && payload.length > 100_000 ? 'too_large' : undefined),
  });
  device.onCommand(({ id }) => {
    if (id === 'no-json') return 10n;
    return 'x'.repeat(id === 'over-the-edge' ? 150_000 : 300_000);
  });
  await opened(device);
  for (const id of ['no-json', 'over-the-edge', 'over-all']) edge.tell(COMMAND, 0, command(id));
  await until(() => payloads(edge, 3).length === 3);
  const results = payloads(edge, 3) as { id: string; status: string; data: { message: string } }[];
  t.same(new Set(results.map(({ id }) => id)), new Set(['no-json', 'over-the-edge', 'over-all']));
  for (const { status } of results) t.equal(status, 'FAILED');
  t.match(results.find(({ id }) => id === 'over-the-edge')?.data.message, /the edge has refused the result: too_large/);
  t.match(results.find(({ id }) => id === 'over-all')?.data.message, /over the limit/);
});

void test('a handler of deltas that fails is told as an error, and the next delta is done', async (t) => {
  const { edge, device } = await setUp(t);
  device.onDelta((delta, version) => {
    if (version === 1) throw new Error('stuck');
    return version === 2 ? [1] : delta;
  });
  const errors: HoldfastError[] = [];
  device.on('error', (error) => errors.push(error));
  await opened(device);
  for (let version = 1; version <= 3; version++) {
    edge.tell(DELTA, version, { version });
    await until(() => errors.length + payloads(edge, 2).length === version);
  }
  t.match(errors, [
    { code: 'handler_failed', message: /delta 1 has failed: stuck/ },
    { code: 'bad_record', message: /not an array/ },
  ]);
  t.same(payloads(edge, 2), [{ version: 3 }]);
});

void test('report sends a state, or null, and nothing else', async (t) => {
  const { edge, device } = await setUp(t);
  device.report({ valve: 'open', old: null });
  device.report(null);
  for (const bad of [[], 1, 'x', undefined]) {
    t.throws(() => device.report(bad as unknown as null), { code: 'bad_record' });
  }
  device.connect();
  await device.flushed();
  t.same(payloads(edge, 2), [{ valve: 'open', old: null }, null]);
});

void test('a device that was disconnected keeps its records and stays away until it is told to connect', async (t) => {
  let acks = false;
  const { edge, device } = await setUp(t, { ackFor: () => acks });
  await opened(device);
  device.send({ n: 1 });
  await until(() => edge.received.length === 1);
  const closed = once(device, 'close');
  const flushed = t.rejects(device.flushed(), {
    code: 'device_closed',
    message: /disconnected with 1 records unacked/,
  });
  await device.disconnect();
  await flushed;
  t.same(await closed, [1000, '', undefined], 'and no reconnect is announced');
  t.same([device.connected, device.unacked], [false, 1]);
  device.send({ n: 2 });
  await device.disconnect();
  acks = true;
  device.connect();
  await device.flushed();
  t.equal(edge.connections, 2);
  t.same(
    edge.received.map(({ seq }) => seq),
    [1, 1, 2],
  );
  // Between the request to close and the end of the connection.
  const ending = device.disconnect();
  device.connect();
  await ending;
  device.send({ n: 3 });
  await device.flushed();
  t.equal(edge.connections, 3);
});

void test('a device that waits to reconnect stops waiting when it is disconnected', async () => {
  const device = new Device({ url: 'ws://127.0.0.1:9', id: 'a', minBackoffMs: 60_000, maxBackoffMs: 60_000 });
  device.connect();
  await once(device, 'close');
  await device.disconnect();
  device.connect();
  await once(device, 'close');
  await device.close();
});

void test('a device that is closed begins nothing that waits, and answers nothing', async (t) => {
  const { edge, device } = await setUp(t);
  const done: unknown[] = [];
  let finish: (() => void) | undefined;
  const wait = async (what: unknown): Promise<void> => {
    done.push(what);
    await new Promise<void>((resolve) => (finish = resolve));
  };
  device.onCommand(({ id }) => wait(id));
  device.onDelta((_, version) => wait(version));
  await opened(device);
  for (const id of ['c-1', 'c-2']) edge.tell(COMMAND, 0, command(id));
  await until(() => finish !== undefined);
  await device.close();
  finish!();
  await new Promise(setImmediate);
  await edge.settle();
  t.same(done, ['c-1']);
  t.same(edge.received, []);
});

void test('with a file buffer a command is done once also when the process is another', async (t) => {
  const directory = testDirectory(t);
  const edge = await WsEdge.start();
  t.teardown(() => edge.stop());
  const done: string[] = [];
  for (let life = 1; life <= 3; life++) {
    const device = newDevice(edge, { buffer: { directory, sync: life === 2 } });
    device.onCommand(({ id }) => {
      done.push(id);
      return { life };
    });
    await opened(device);
    edge.tell(COMMAND, 0, command('c-1'));
    edge.tell(COMMAND, 0, command(`c-1-${life}`));
    await until(() => payloads(edge, 3).length === 2 * life);
    await device.flushed();
    await device.close();
  }
  t.same(done, ['c-1', 'c-1-1', 'c-1-2', 'c-1-3']);
  const answers = (payloads(edge, 3) as { id: string }[]).filter(({ id }) => id === 'c-1');
  t.same(answers, Array(3).fill({ id: 'c-1', status: 'SUCCEEDED', data: { life: 1 } }));
});

void test('a process that dies while it does a command does not begin it again: it answers FAILED', async (t) => {
  const directory = testDirectory(t);
  const edge = await WsEdge.start();
  t.teardown(() => edge.stop());
  const script = packagePath('dist', 'test', 'support', 'command-runner.js');
  const child = spawn(process.execPath, [script, edge.url, directory], {
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
  });
  await once(child, 'message');
  edge.tell(COMMAND, 0, command('quick'));
  await until(() => payloads(edge, 3).length === 1);
  edge.tell(COMMAND, 0, command('endless'));
  t.same((await once(child, 'message'))[0], 'doing');
  const exit = once(child, 'exit');
  child.kill('SIGKILL');
  await exit;

  const device = newDevice(edge, { buffer: { directory } });
  t.teardown(() => device.close());
  const done: string[] = [];
  device.onCommand(({ id }) => done.push(id));
  await opened(device);
  for (const id of ['endless', 'quick', 'new']) edge.tell(COMMAND, 0, command(id));
  await until(() => payloads(edge, 3).length === 4);
  const [quick, ...again] = payloads(edge, 3) as { id: string }[];
  t.same(done, ['new']);
  t.match(
    again.find(({ id }) => id === 'endless'),
    { status: 'FAILED', data: { message: /it may have been done/ } },
  );
  t.same(
    again.find(({ id }) => id === 'quick'),
    quick,
  );
});

void test('a command that cannot be written down is not begun, and is done when it comes again and can be', async (t) => {
  const directory = testDirectory(t);
  // Where the log is written anew a directory is in the way.
  const obstacle = join(directory, 'commands.new');
  const { edge, device } = await setUp(t, {}, { buffer: { directory } });
  const done: string[] = [];
  const errors: HoldfastError[] = [];
  device.onCommand(({ id }) => done.push(id));
  device.on('error', (error) => errors.push(error));
  await opened(device);
  // Two lines each: the next one has to begin the log anew.
  for (let n = 1; n <= 1_500; n++) {
    edge.tell(COMMAND, 0, command(`c-${n}`));
    if (n % 500 === 0) await until(() => done.length === n);
  }
  mkdirSync(obstacle);
  edge.tell(COMMAND, 0, command('late'));
  await until(() => errors.length === 1);
  t.match(errors, [{ code: 'disk_low', retry: true, message: /cannot write to .*commands: / }]);
  t.equal(done.length, 1_500);
  rmdirSync(obstacle);
  edge.tell(COMMAND, 0, command('late'));
  await until(() => done.length === 1_501);
  t.equal(done.at(-1), 'late');
  await device.flushed();
  t.equal(errors.length, 1);
});

void test('the file of commands stays small, holds the last thousand, and survives damage', async (t) => {
  const directory = testDirectory(t);
  const path = join(directory, 'commands');
  const edge = await WsEdge.start();
  t.teardown(() => edge.stop());
  const first = newDevice(edge, { buffer: { directory } });
  let done = 0;
  first.onCommand(() => {
    done++;
  });
  await opened(first);
  const total = 2_500;
  for (let n = 1; n <= total; n++) {
    edge.tell(COMMAND, 0, command(`c-${n}`));
    if (n % 500 === 0) await until(() => done === n);
  }
  await first.flushed();
  await first.close();
  t.ok(statSync(path).size < 1_000_000, `${statSync(path).size} bytes`);

  // One line in the middle has a flipped bit, and the last one is torn.
  const lines = readFileSync(path, 'utf8').split('\n');
  const hurt = lines.findIndex((line) => line.includes('"c-2000"') && line.includes('SUCCEEDED'));
  t.ok(hurt > 0);
  lines[hurt] = lines[hurt]!.replace('SUCCEEDED', 'SUCCEEDEE');
  writeFileSync(path, lines.join('\n'));
  appendFileSync(path, '\nd00df00d {"id":"c-25');
  const second = newDevice(edge, { buffer: { directory } });
  t.teardown(() => second.close());
  done = 0;
  const began: string[] = [];
  second.onCommand(({ id }) => void began.push(id));
  await opened(second);
  const before = payloads(edge, 3).length;
  for (const n of [total, 1_501, 2_000, 1_500, total + 1]) edge.tell(COMMAND, 0, command(`c-${n}`));
  await until(() => payloads(edge, 3).length === before + 5);
  const answers = payloads(edge, 3).slice(before) as { id: string; status: string }[];
  t.same(began, ['c-1500', `c-${total + 1}`], 'the oldest are forgotten');
  t.equal(answers.find(({ id }) => id === 'c-2000')?.status, 'FAILED', 'known to have begun, and no more');
});
