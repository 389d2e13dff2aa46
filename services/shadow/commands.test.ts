import { test } from 'tap';
import { v7 as uuid } from 'uuid';
import { until } from '../../test/support/processes.js';
import { MAX_PENDING, RETENTION_MS, TestCommands } from '../../test/support/shadow-commands.js';
import type { CommandView } from './api.js';

const REQUEST = { name: 'reboot', data: { delay: 5 }, ttlMs: 60_000 };

void test('a command is durable with its entry among the pending ones when it is answered', async (t) => {
  const shadow = new TestCommands();
  shadow.things.know('press-1');
  const command = await shadow.commands.sendCommand('press-1', REQUEST);
  t.match(command, { thing: 'press-1', name: 'reboot', data: { delay: 5 }, state: 'QUEUED', sends: 0 });
  t.equal(command.queuedAt, shadow.nowMs);
  t.equal(command.expiresAt, shadow.nowMs + 60_000);
  t.strictSame(shadow.store.stored.get('press-1')!.pending, [command.id]);
  t.strictSame(await shadow.commands.getCommand('press-1', command.id), command);
  t.strictSame(await shadow.commands.getCommand(undefined, command.id), command);
  t.equal(await shadow.counted('QUEUED'), 1);
});

void test('a crash before the write leaves neither the command nor its entry, one after it leaves both', async (t) => {
  const shadow = new TestCommands();
  shadow.things.know('press-1');
  const kept = await shadow.commands.sendCommand('press-1', REQUEST);
  shadow.things.flushesItself = false;
  void shadow.commands.sendCommand('press-1', REQUEST);
  await until(() => shadow.things.peek('press-1').pending.length === 2);
  const lost = shadow.things.peek('press-1').pending[1]!;

  const after = new TestCommands(shadow.store);
  t.strictSame(after.things.peek('press-1').pending, [kept.id]);
  t.strictSame(await after.commands.getCommand('press-1', kept.id), kept);
  await t.rejects(after.commands.getCommand('press-1', lost), { name: 'RequestError', status: 404 });
  t.equal((await after.commands.listCommands('press-1', { pageSize: 10, after: '' })).items.length, 1);
});

void test('a thing that was never heard of gets no command', async (t) => {
  const shadow = new TestCommands();
  await t.rejects(shadow.commands.sendCommand('nobody', REQUEST), {
    status: 404,
    message: /nobody was never heard of/,
  });
  await t.rejects(shadow.commands.listCommands('nobody', { pageSize: 5, after: '' }), {
    name: 'RequestError',
    status: 404,
  });
  t.equal(shadow.store.commands.size, 0);
});

void test('a thing with too many commands that are not over gets no more until one is', async (t) => {
  const shadow = new TestCommands();
  shadow.things.know('press-1');
  const made: CommandView[] = [];
  for (let count = 0; count < MAX_PENDING; count++) made.push(await shadow.commands.sendCommand('press-1', REQUEST));
  await t.rejects(shadow.commands.sendCommand('press-1', REQUEST), {
    status: 429,
    message: /5 commands that are not over/,
  });
  await t.rejects(shadow.commands.sendCommands(['press-1'], REQUEST), { name: 'RequestError', status: 429 });
  await shadow.commands.cancelCommand('press-1', made[2]!.id);
  await shadow.commands.sendCommand('press-1', REQUEST);
  t.equal(shadow.things.peek('press-1').pending.length, MAX_PENDING);
});

void test('a request for many makes one command a thing, and leaves out those that have too many', async (t) => {
  const shadow = new TestCommands();
  const ids = Array.from({ length: 2_500 }, (_, index) => `press-${index}`);
  for (const id of ids) shadow.things.know(id);
  for (let count = 0; count < MAX_PENDING; count++) await shadow.commands.sendCommand('press-7', REQUEST);
  const made = await shadow.commands.sendCommands([...ids, 'press-1'], REQUEST);
  t.strictSame(
    made.map(({ thing }) => thing),
    ids.filter((id) => id !== 'press-7'),
  );
  t.equal(new Set(made.map(({ id }) => id)).size, made.length);
  t.ok(made.every(({ id, thing }) => shadow.store.stored.get(thing)!.pending.at(-1) === id));
  t.ok(shadow.store.largestStep <= 1_000, 'a thousand things at a time');
});

void test('a request that names a thing that was never heard of makes no command at all', async (t) => {
  const shadow = new TestCommands();
  shadow.things.know('press-1');
  await t.rejects(shadow.commands.sendCommands(['press-1', 'nobody', 'none'], REQUEST), {
    status: 404,
    message: 'No command was made: nobody, none were never heard of',
  });
  const strangers = Array.from({ length: 12 }, (_, index) => `x-${index}`);
  await t.rejects(shadow.commands.sendCommands(strangers, REQUEST), { status: 404, message: /x-9 and 2 more were/ });
  t.equal(shadow.store.commands.size, 0);
});

void test('a request by type and site goes to those that match, page by page', async (t) => {
  const shadow = new TestCommands();
  for (let index = 0; index < 2_100; index++) {
    shadow.things.know(`p-${index}`, { type: index % 3 === 0 ? 'press' : 'pump', site: index % 2 === 0 ? 'a' : 'b' });
  }
  const { commands } = shadow;
  t.equal((await commands.sendCommands({ type: 'press' }, REQUEST)).length, 700);
  t.equal((await commands.sendCommands({ site: 'b' }, REQUEST)).length, 1_050);
  t.equal((await commands.sendCommands({ type: 'press', site: 'a' }, REQUEST)).length, 350);
  t.strictSame(await commands.sendCommands({ type: 'none' }, REQUEST), []);
  await t.rejects(commands.sendCommands({}, REQUEST), { status: 400, message: /Name "things"/ });
  await t.rejects(commands.sendCommands([], REQUEST), { status: 400, message: /"things" is empty/ });
});

void test('a request for more than 10,000 things is refused before anything is made', async (t) => {
  const shadow = new TestCommands();
  const ids = Array.from({ length: 10_001 }, (_, index) => `p-${index}`);
  for (const id of ids) shadow.things.know(id, { type: 'press' });
  await t.rejects(shadow.commands.sendCommands(ids, REQUEST), { status: 400, message: /10000 things are meant/ });
  await t.rejects(shadow.commands.sendCommands({ type: 'press' }, REQUEST), {
    status: 400,
    message: /More than 10000/,
  });
  const large = { ...REQUEST, data: 'x'.repeat(8_000) };
  await t.rejects(shadow.commands.sendCommands(ids.slice(1), large), { status: 413, message: /ask in several/ });
  t.equal(shadow.store.commands.size, 0);
});

void test('the commands of a thing are listed newest first, page by page', async (t) => {
  const shadow = new TestCommands(undefined, 100);
  shadow.things.know('press-1');
  shadow.things.know('press-2');
  const ids: string[] = [];
  for (let count = 0; count < 7; count++) {
    ids.unshift((await shadow.commands.sendCommand('press-1', REQUEST)).id);
    await shadow.commands.sendCommand('press-2', REQUEST);
  }
  const listed: string[] = [];
  for (let after: string | undefined = ''; after !== undefined;) {
    const page = await shadow.commands.listCommands('press-1', { pageSize: 3, after });
    listed.push(...page.items.map(({ id }) => id));
    after = page.next;
  }
  t.strictSame(listed, ids);
  await t.rejects(shadow.commands.listCommands('press-1', { pageSize: 3, after: 'x' }), {
    name: 'RequestError',
    status: 400,
  });
});

void test('a command is found under its own thing only, and an id that is none is not looked up', async (t) => {
  const shadow = new TestCommands();
  shadow.things.know('press-1');
  shadow.things.know('press-2');
  const { id } = await shadow.commands.sendCommand('press-1', REQUEST);
  for (const [thing, command] of [
    ['press-2', id],
    [undefined, uuid()],
    ['press-1', 'x'.repeat(5_000)],
  ] as const) {
    await t.rejects(shadow.commands.getCommand(thing, command), { name: 'RequestError', status: 404 });
    await t.rejects(shadow.commands.cancelCommand(thing, command), { name: 'RequestError', status: 404 });
  }
  t.equal((await shadow.commands.getCommand(undefined, id)).state, 'QUEUED');
});

void test('a command is canceled once, queued or sent, and is pending no more', async (t) => {
  const shadow = new TestCommands();
  shadow.things.know('press-1');
  const { id } = await shadow.commands.sendCommand('press-1', REQUEST);
  await shadow.outbox.sent([{ id, atMs: shadow.nowMs + 1 }]);
  shadow.nowMs += 10;
  const canceled = await shadow.commands.cancelCommand(undefined, id);
  t.match(canceled, { state: 'CANCELED', sentAt: shadow.nowMs - 9, finishedAt: shadow.nowMs, sends: 1 });
  t.strictSame(shadow.store.stored.get('press-1')!.pending, []);
  await t.rejects(shadow.commands.cancelCommand('press-1', id), { status: 409, message: /it is CANCELED/ });
  t.equal(await shadow.counted('CANCELED'), 1);
});

void test('two that cancel the same command at the same time: one hears 409', async (t) => {
  const shadow = new TestCommands();
  shadow.things.know('press-1');
  const { id } = await shadow.commands.sendCommand('press-1', REQUEST);
  const both = await Promise.allSettled([1, 2].map(() => shadow.commands.cancelCommand('press-1', id)));
  t.strictSame(both.map(({ status }) => status).sort(), ['fulfilled', 'rejected']);
});

void test('a result ends a command once; what else comes changes nothing and says why', async (t) => {
  const shadow = new TestCommands();
  shadow.things.know('press-1');
  shadow.things.know('press-2');
  const { id } = await shadow.commands.sendCommand('press-1', REQUEST);
  const other = await shadow.commands.sendCommand('press-1', REQUEST);
  const result = { id, status: 'SUCCEEDED', data: { took: 3 } };
  t.equal(shadow.result('press-2', result), 'not_its_command');
  t.equal(shadow.result('press-1', { ...result, status: 'DONE' }), 'unknown_status');
  t.equal(shadow.result('press-1', { ...result, id: uuid() }), 'unknown_command');
  t.equal(shadow.result('press-1', { ...result, id: 'c-1' }), 'bad_result');
  t.equal((await shadow.commands.getCommand('press-1', id)).state, 'QUEUED');
  shadow.nowMs += 10;
  t.equal(shadow.result('press-1', result), undefined);
  const ended = await shadow.commands.getCommand('press-1', id);
  t.match(ended, { state: 'SUCCEEDED', finishedAt: shadow.nowMs, result: { took: 3 }, sends: 0 });
  t.strictSame(shadow.things.peek('press-1').pending, [other.id]);
  shadow.nowMs += 10;
  t.equal(shadow.result('press-1', { ...result, status: 'FAILED' }), 'command_over');
  t.strictSame(await shadow.commands.getCommand('press-1', id), ended);
  t.equal(await shadow.counted('SUCCEEDED'), 1);
});

void test('that a command was sent is written down also when its result was faster', async (t) => {
  const shadow = new TestCommands();
  shadow.things.know('press-1');
  const { id } = await shadow.commands.sendCommand('press-1', REQUEST);
  shadow.result('press-1', { id, status: 'REJECTED' });
  await shadow.outbox.sent([{ id, atMs: shadow.nowMs }]);
  t.match(await shadow.commands.getCommand('press-1', id), { state: 'REJECTED', sends: 1, sentAt: shadow.nowMs });
  t.equal(await shadow.counted('SENT'), 0);
});

void test('that commands were sent is written down once the store is back', async (t) => {
  const shadow = new TestCommands();
  shadow.things.know('press-1');
  const { id } = await shadow.commands.sendCommand('press-1', REQUEST);
  shadow.store.ready = false;
  const written = shadow.outbox.sent([{ id, atMs: shadow.nowMs }]);
  await t.rejects(shadow.commands.getCommand('press-1', id), { code: 'store', retry: true });
  shadow.store.ready = true;
  await written;
  t.match(await shadow.commands.getCommand('press-1', id), { state: 'SENT', sends: 1 });
});

void test('a command times out at its time, thousands of them in bounded steps, and leaves after the retention', async (t) => {
  const shadow = new TestCommands();
  const ids = Array.from({ length: 2_500 }, (_, index) => `press-${index}`);
  for (const id of ids) shadow.things.know(id);
  const made = await shadow.commands.sendCommands(ids, REQUEST);
  shadow.nowMs += 59_999;
  t.equal(await shadow.expiry.step(), false);
  t.equal(await shadow.counted('TIMED_OUT'), 0);
  shadow.nowMs += 1;
  while (await shadow.expiry.step()) continue;
  t.equal(await shadow.counted('TIMED_OUT'), 2_500);
  t.match(await shadow.commands.getCommand(undefined, made[2_499]!.id), {
    state: 'TIMED_OUT',
    finishedAt: shadow.nowMs,
  });
  t.ok(ids.every((id) => shadow.store.stored.get(id)!.pending.length === 0));
  t.equal(shadow.result('press-0', { id: made[0]!.id, status: 'SUCCEEDED' }), 'command_over');

  shadow.nowMs += RETENTION_MS - 1;
  t.equal(await shadow.expiry.step(), false);
  t.equal(shadow.store.commands.size, 2_500);
  shadow.nowMs += 1;
  while (await shadow.expiry.step()) continue;
  t.equal(shadow.store.commands.size, 0);
  await t.rejects(shadow.commands.getCommand(undefined, made[0]!.id), { name: 'RequestError', status: 404 });
  t.ok(shadow.store.largestStep <= 1_000);
});

void test('the expiry runs by itself, goes on after the store was away, and stops', async (t) => {
  const shadow = new TestCommands();
  shadow.things.know('press-1');
  await shadow.commands.sendCommand('press-1', REQUEST);
  shadow.nowMs += 60_000;
  shadow.store.ready = false;
  await shadow.expiry.start();
  await until(() => shadow.store.largestStep > 0);
  shadow.store.ready = true;
  await until(async () => (await shadow.counted('TIMED_OUT')) === 1);
  await shadow.expiry.stop();
  t.strictSame(shadow.things.peek('press-1').pending, []);
});
