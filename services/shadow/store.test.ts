import { deepStrictEqual } from 'node:assert/strict';
import fc from 'fast-check';
import { pino } from 'pino';
import tap, { test, type Test } from 'tap';
import { TestRedis } from '../../test/support/redis.js';
import { at, changeOf, makeCommand, makeThing, QUEUE, step } from '../../test/support/shadow-changes.js';
import { comparePositions, START, type Position } from '../../shared/position.js';
import { LmdbStore } from './lmdb-store.js';
import { RedisStore } from './redis-store.js';
import type { Change, ListedThing, Store, ThingEntry } from './store.js';
import { testDirectory } from '../../test/support/directory.js';

const log = pino({ level: 'silent' });
const redis = await TestRedis.start();
const cluster = await TestRedis.start({ cluster: true });
tap.teardown(() => redis.stop());
tap.teardown(() => cluster.stop());

/** A place that stores are opened on, again and again; another one at every call. */
type Place = (t: Test) => () => Store;

let shards = 0;
function inRedis(...urls: readonly string[]): Place {
  return () => {
    const shard = `${++shards}`;
    return () => new RedisStore({ urls, shard, unsafeMs: 3_000, log });
  };
}

const PLACES: Readonly<Record<string, Place>> = {
  LMDB: (t) => {
    const path = testDirectory(t);
    return () => new LmdbStore({ path, mapBytes: 2 ** 30, diskFloorBytes: 0 });
  },
  Redis: inRedis(redis.url),
  'Redis Cluster': inRedis(cluster.url, cluster.url),
};

/** An open store of a new place, closed with the test. */
async function openNew(t: Test, place: Place): Promise<Store> {
  const store = place(t)();
  t.teardown(() => store.close());
  await store.open();
  return store;
}

/** Every page of a list, and what the pages say together. */
async function listAll(store: Store, limit: number): Promise<ListedThing[]> {
  const all: ListedThing[] = [];
  for (;;) {
    const page = await store.list(all.at(-1)?.thing ?? '', limit);
    if (page.length === 0) return all;
    all.push(...page);
  }
}

function asciiOrder(a: string, b: string): number {
  return Buffer.compare(Buffer.from(a), Buffer.from(b));
}

const ALL_BYTES = Buffer.from(Array.from({ length: 512 }, (_, index) => index & 255));

for (const [name, place] of Object.entries(PLACES)) {
  void test(`${name}: a new store is empty`, async (t) => {
    const store = await openNew(t, place);
    t.equal(store.ready, true);
    t.strictSame(await store.position(QUEUE), START);
    t.strictSame(await store.load(['press-1', '']), [undefined, undefined]);
    t.strictSame(await store.load([]), []);
    t.strictSame(await store.list('', 10), []);
    t.strictSame(await store.loadCommands(['c-1', '']), [undefined, undefined]);
    t.strictSame(await store.loadCommands([]), []);
    t.strictSame(await store.listCommands('press-1', '', 10), []);
    t.strictSame(await store.dueCommands(Number.MAX_SAFE_INTEGER, 10), []);
  });

  void test(`${name}: what was written is there when the store is opened again, byte for byte`, async (t) => {
    const another = place(t);
    const first = another();
    await first.open();
    const entry: ThingEntry = { connected: true, type: 'Prüfpresse ✓', site: 'ward\0seven' };
    const things = [
      makeThing('press-1', ALL_BYTES, entry),
      makeThing('empty', Buffer.alloc(0), { type: '' }),
      makeThing('large', Buffer.alloc(300_000, ALL_BYTES), { site: 'x'.repeat(5_000) }),
    ];
    const commands = [
      makeCommand('c-1', 'press-1', '', 17),
      { ...makeCommand('c-2', 'press-1', ''), value: ALL_BYTES },
    ];
    await first.write({ ...step(0, 3, things), commands });
    await first.close();

    const store = another();
    t.teardown(() => store.close());
    await store.open();
    t.strictSame(await store.position(QUEUE), at(3));
    const values = await store.load(['large', 'none', 'press-1', 'empty', 'press-1']);
    t.ok(things[2]!.value.equals(values[0]!));
    t.strictSame(values.slice(1), [undefined, ALL_BYTES, Buffer.alloc(0), ALL_BYTES]);
    t.strictSame(await store.list('', 10), [
      { thing: 'empty', entry: { connected: false, type: '', site: null } },
      { thing: 'large', entry: { connected: false, type: null, site: 'x'.repeat(5_000) } },
      { thing: 'press-1', entry },
    ]);
    t.strictSame(await store.loadCommands(['c-2', 'c-3', 'c-1']), [ALL_BYTES, undefined, Buffer.alloc(0)]);
  });

  void test(`${name}: values that were loaded stay as they were`, async (t) => {
    const store = await openNew(t, place);
    const ids = Array.from({ length: 3_000 }, (_, index) => `press-${index}`);
    await store.write(changeOf(ids.map((id) => makeThing(id, `first ${id}`))));
    const before = await store.load(ids);
    await store.write(changeOf(ids.map((id) => makeThing(id, `then ${id}`))));
    const after = await store.load(ids);
    t.strictSame(
      before.map((value) => value?.toString()),
      ids.map((id) => `first ${id}`),
    );
    t.strictSame(
      after.map((value) => value?.toString()),
      ids.map((id) => `then ${id}`),
    );
  });

  void test(`${name}: 10,000 things of one change are listed in ASCII order, in pages without gap or double`, async (t) => {
    const store = await openNew(t, place);
    const ids = Array.from({ length: 10_000 }, (_, index) => `${'ZaA9'[index % 4]}${(index * 7_919) % 10_007}.x`);
    const things = ids.map((id, index) => makeThing(id, Buffer.alloc(600, index), { connected: index % 2 === 0 }));
    await store.write(step(0, 1, things));
    const sorted = [...ids].sort(asciiOrder);
    for (const limit of [997, 1_000, 3_333, 20_000]) {
      const listed = await listAll(store, limit);
      t.strictSame(
        listed.map(({ thing }) => thing),
        sorted,
      );
    }
    const connected = (await listAll(store, 5_000)).filter(({ entry }) => entry.connected);
    t.strictSame(
      connected.map(({ thing }) => thing),
      ids.filter((_, index) => index % 2 === 0).sort(asciiOrder),
    );
    const values = await store.load(ids);
    t.ok(values.every((value, index) => value?.equals(things[index]!.value)));
    t.strictSame(
      (await store.list(sorted[5]!, 2)).map(({ thing }) => thing),
      sorted.slice(6, 8),
    );
    t.strictSame(
      (await store.list(`${sorted[5]!}.`, 1)).map(({ thing }) => thing),
      [sorted[6]],
    );
    t.strictSame(await store.list(sorted.at(-1)!, 5), [], 'after the last');
    t.strictSame(await store.list('', 0), [], 'a limit of none');
  });

  void test(`${name}: what is written between two pages breaks neither`, async (t) => {
    const store = await openNew(t, place);
    await store.write(changeOf(['b', 'd', 'f', 'h'].map((id) => makeThing(id, id))));
    t.strictSame(
      (await store.list('', 2)).map(({ thing }) => thing),
      ['b', 'd'],
    );
    await store.write(changeOf(['a', 'e', 'd'].map((id) => makeThing(id, `new ${id}`, { connected: true }))));
    const rest = await store.list('d', 10);
    t.strictSame(
      rest.map(({ thing, entry }) => [thing, entry.connected]),
      [
        ['e', true],
        ['f', false],
        ['h', false],
      ],
    );
  });

  void test(`${name}: of a thing's commands the newest come first, of its own only, in pages`, async (t) => {
    const store = await openNew(t, place);
    const ids = Array.from({ length: 25 }, (_, index) => `c-${10 + index}`);
    const things = ['press-1', 'press-10', 'press-1.2', 'press'];
    await store.write(
      changeOf(
        [],
        ids.map((id, index) => makeCommand(id, things[index % 4]!, id)),
      ),
    );
    for (const [index, thing] of things.entries()) {
      const expected = ids.filter((_, place) => place % 4 === index).reverse();
      t.strictSame(await store.listCommands(thing, '', 100), expected);
      const pages: string[] = [];
      for (;;) {
        const page = await store.listCommands(thing, pages.at(-1) ?? '', 2);
        if (page.length === 0) break;
        pages.push(...page);
      }
      t.strictSame(pages, expected);
    }
    t.strictSame(await store.listCommands('press-1', 'c-13', 10), ['c-10'], 'older than one of another thing');
    t.strictSame(await store.listCommands('press-1', '', 0), []);
    t.strictSame(await store.listCommands('pres', '', 10), []);
  });

  void test(`${name}: due commands come by their time, then by id, and move when their time does`, async (t) => {
    const store = await openNew(t, place);
    const now = 1_732_112_345_678;
    const due = [
      ['c-5', now],
      ['c-1', now + 1],
      ['c-4', 999],
      ['c-3', 1_000],
      ['c-2', now],
      ['c-6', 0],
    ] as const;
    await store.write(
      changeOf(
        [],
        due.map(([id, dueMs]) => makeCommand(id, 'press-1', id, dueMs)),
      ),
    );
    t.strictSame(await store.dueCommands(now, 10), ['c-6', 'c-4', 'c-3', 'c-2', 'c-5']);
    t.strictSame(await store.dueCommands(now - 1, 2), ['c-6', 'c-4']);
    t.strictSame(await store.dueCommands(-1, 2), []);
    await store.write(changeOf([], [makeCommand('c-4', 'press-1', 'later', now + 2)]));
    t.strictSame(await store.dueCommands(now + 2, 10), ['c-6', 'c-3', 'c-2', 'c-5', 'c-1', 'c-4']);
    t.strictSame(await store.listCommands('press-1', '', 10), ['c-6', 'c-5', 'c-4', 'c-3', 'c-2', 'c-1']);
  });

  void test(`${name}: a command that is removed is in no list and no index`, async (t) => {
    const store = await openNew(t, place);
    const commands = ['c-1', 'c-2', 'c-3'].map((id) => makeCommand(id, 'press-1', id, 5));
    await store.write(changeOf([], commands));
    await store.write(
      changeOf([], [makeCommand('c-2', 'press-1', undefined, 900), makeCommand('c-9', 'x', undefined)]),
    );
    t.strictSame(await store.loadCommands(['c-1', 'c-2', 'c-3']), [Buffer.from('c-1'), undefined, Buffer.from('c-3')]);
    t.strictSame(await store.listCommands('press-1', '', 10), ['c-3', 'c-1']);
    t.strictSame(await store.dueCommands(10_000, 10), ['c-1', 'c-3']);
  });

  void test(`${name}: of several writes of one thing or command in a change the last holds`, async (t) => {
    const store = await openNew(t, place);
    const things = [makeThing('a', 'first', { connected: true }), makeThing('b', 'b'), makeThing('a', 'last')];
    const commands = [
      makeCommand('c-1', 'a', 'first', 7),
      makeCommand('c-2', 'a', 'there', 8),
      makeCommand('c-1', 'a', 'last', 9),
      makeCommand('c-2', 'a', undefined),
      makeCommand('c-3', 'a', undefined),
      makeCommand('c-3', 'a', 'back', 1),
    ];
    await store.write(changeOf(things, commands));
    t.strictSame(await store.load(['a']), [Buffer.from('last')]);
    t.strictSame((await store.list('', 1))[0]?.entry.connected, false);
    t.strictSame(await store.loadCommands(['c-1', 'c-2', 'c-3']), [
      Buffer.from('last'),
      undefined,
      Buffer.from('back'),
    ]);
    t.strictSame(await store.dueCommands(100, 10), ['c-3', 'c-1']);
    t.strictSame(await store.listCommands('a', '', 10), ['c-3', 'c-1']);
  });

  void test(`${name}: positions of queues move by themselves, and a change without one leaves them`, async (t) => {
    const store = await openNew(t, place);
    const other = { queueId: 'other', from: START, through: { epoch: 1_732_112_345_678, offset: 2 ** 52 } };
    await store.write(step(0, 5));
    await store.write({ applied: other, things: [], commands: [] });
    await store.write(changeOf([makeThing('a', 'a')]));
    await store.write(changeOf([]));
    await store.write(step(5, 6));
    t.strictSame(await store.position(QUEUE), at(6));
    t.strictSame(await store.position('other'), other.through);
    t.strictSame(await store.position('third'), START);
  });

  for (const [words, from] of [
    ['behind', 4],
    ['ahead of', 6],
  ] as const) {
    void test(`${name}: a change from ${words} the stored position is fenced, and so is all after it`, async (t) => {
      const store = await openNew(t, place);
      await store.write(step(0, 5, [makeThing('a', 'kept')]));
      const change = { ...step(from, 7, [makeThing('a', 'bad'), makeThing('b', 'bad')]) };
      const commands = [makeCommand('c-1', 'a', 'bad')];
      await t.rejects(store.write({ ...change, commands }), { name: 'HoldfastError', code: 'fenced', retry: false });
      t.equal(store.ready, false);
      await t.rejects(store.write(changeOf([makeThing('a', 'bad')])), { code: 'fenced' });
      await t.rejects(store.write(step(5, 6)), { code: 'fenced' });
      t.strictSame(await store.load(['a', 'b']), [Buffer.from('kept'), undefined]);
      t.strictSame(await store.loadCommands(['c-1']), [undefined]);
      t.strictSame(await store.position(QUEUE), at(5));
    });
  }

  void test(`${name}: changes asked for at the same time are made one after the other`, async (t) => {
    const store = await openNew(t, place);
    const offsets = Array.from({ length: 20 }, (_, index) => index);
    await Promise.all(offsets.map((n) => store.write(step(n, n + 1, [makeThing('a', `${n}`)]))));
    t.strictSame(await store.load(['a']), [Buffer.from('19')]);
    t.strictSame(await store.position(QUEUE), at(20));
  });

  void test(`${name}: what cannot be written is refused before any of it is, and the next change goes on`, async (t) => {
    const store = await openNew(t, place);
    const good = makeThing('a', 'bad');
    const unfit: readonly Change[] = [
      changeOf([good, makeThing('', 'x')]),
      changeOf([good, makeThing('x'.repeat(3_000), 'x')]),
      changeOf([good], [makeCommand('', 'a', 'x')]),
      changeOf([good], [makeCommand('c', '', 'x')]),
      changeOf([good], [makeCommand('c', 'a', 'x', Number.NaN)]),
      changeOf([good], [makeCommand('c', 'a', 'x', -1)]),
      { ...step(0, 1, [good]), applied: { queueId: '', from: START, through: at(1) } },
    ];
    for (const change of unfit) await t.rejects(store.write(change), { code: 'store', retry: false });
    t.strictSame(await store.load(['a']), [undefined]);
    t.equal(store.ready, true);
    await store.write(step(0, 1, [makeThing('a', 'good')]));
    t.strictSame(await store.load(['a']), [Buffer.from('good')]);
  });

  void test(`${name}: a store that is not open says so`, async (t) => {
    const another = place(t);
    const store = another();
    const calls: readonly (() => Promise<unknown>)[] = [
      () => store.position(QUEUE),
      () => store.load(['a']),
      () => store.write(changeOf([])),
      () => store.list('', 1),
      () => store.list('', 0),
      () => store.loadCommands(['c']),
      () => store.listCommands('a', '', 1),
      () => store.dueCommands(1, 1),
    ];
    for (const call of calls) await t.rejects(call(), { code: 'store', retry: false, message: /is not open/ });
    t.equal(store.ready, false);
    await store.open();
    t.equal(store.ready, true);
    await store.close();
    t.equal(store.ready, false);
    for (const call of calls) await t.rejects(call(), { code: 'store', retry: false });
    await store.close();
  });
}

/** What a store should hold, and how it should answer. */
class Model {
  readonly things = new Map<string, { readonly value: Buffer; readonly entry: ThingEntry }>();
  readonly commands = new Map<string, { readonly thing: string; readonly value: Buffer; readonly dueMs: number }>();
  position: Position = START;

  write({ applied, things, commands }: Change): void {
    for (const { thing, value, entry } of things) this.things.set(thing, { value, entry });
    for (const { id, thing, value, dueMs } of commands) {
      if (value === undefined) this.commands.delete(id);
      else this.commands.set(id, { thing, value, dueMs });
    }
    if (applied !== undefined) this.position = applied.through;
  }

  list(after: string, limit: number): ListedThing[] {
    const behind = [...this.things].filter(([thing]) => asciiOrder(thing, after) > 0);
    const sorted = behind.sort(([a], [b]) => asciiOrder(a, b)).slice(0, limit);
    return sorted.map(([thing, { entry }]) => ({ thing, entry }));
  }

  listCommands(thing: string, before: string, limit: number): string[] {
    const own = [...this.commands].filter(([id, command]) => command.thing === thing && (before === '' || id < before));
    return own
      .map(([id]) => id)
      .sort((a, b) => asciiOrder(b, a))
      .slice(0, limit);
  }

  dueCommands(nowMs: number, limit: number): string[] {
    const due = [...this.commands].filter(([, { dueMs }]) => dueMs <= nowMs);
    const sorted = due.sort(([a, { dueMs: aMs }], [b, { dueMs: bMs }]) => aMs - bMs || asciiOrder(a, b));
    return sorted.slice(0, limit).map(([id]) => id);
  }
}

const IDS = ['a', 'A', 'a.b', 'a:1', 'a-1', 'ab', 'b', '0', '9', 'Z'] as const;
const COMMAND_IDS = ['c-1', 'c-2', 'c-3', 'c-4', 'd'] as const;
const text = fc.option(fc.string({ maxLength: 5, unit: 'grapheme' }), { nil: null });
const thingWrites = fc.record({
  thing: fc.constantFrom(...IDS),
  value: fc.uint8Array({ maxLength: 20 }).map((bytes) => Buffer.from(bytes)),
  entry: fc.record({ connected: fc.boolean(), type: text, site: text }, { noNullPrototype: true }),
});
/** A command's thing never changes: it goes with the id. */
const commandWrites = fc
  .record({
    id: fc.constantFrom(...COMMAND_IDS),
    value: fc.option(fc.uint8Array({ maxLength: 9 }), { nil: undefined }),
    dueMs: fc.oneof(fc.integer({ min: 0, max: 4 }), fc.constantFrom(1e15, 0.5)),
  })
  .map(({ id, value, dueMs }) => ({
    id,
    thing: IDS[id.charCodeAt(2) % 3 || 0]!,
    value: value === undefined ? undefined : Buffer.from(value),
    dueMs,
  }));
const changes = fc.record({
  moves: fc.boolean(),
  things: fc.array(thingWrites, { maxLength: 4 }),
  commands: fc.array(commandWrites, { maxLength: 4 }),
});

void test('all stores answer as one model does, whatever is written', async (t) => {
  await fc.assert(
    fc.asyncProperty(fc.array(changes, { minLength: 1, maxLength: 8 }), fc.nat(12), async (all, limit) => {
      const model = new Model();
      const stores = await Promise.all(
        Object.values(PLACES).map(async (place) => {
          const store = place(t)();
          await store.open();
          return store;
        }),
      );
      try {
        for (const { moves, things, commands } of all) {
          const { epoch, offset } = model.position;
          const through = { epoch: Math.max(1, epoch), offset: offset + 1 };
          const applied = moves ? { queueId: QUEUE, from: model.position, through } : undefined;
          const change = { applied, things, commands };
          model.write(change);
          await Promise.all(stores.map((store) => store.write(change)));
        }
        for (const store of stores) await compare(store, model, limit);
      } finally {
        await Promise.all(stores.map((store) => store.close()));
      }
    }),
    { numRuns: 25 },
  );
});

async function compare(store: Store, model: Model, limit: number): Promise<void> {
  deepStrictEqual(comparePositions(await store.position(QUEUE), model.position), 0);
  deepStrictEqual(
    await store.load(IDS),
    IDS.map((thing) => model.things.get(thing)?.value),
  );
  deepStrictEqual(
    await store.loadCommands(COMMAND_IDS),
    COMMAND_IDS.map((id) => model.commands.get(id)?.value),
  );
  for (const after of ['', ...IDS]) deepStrictEqual(await store.list(after, limit), model.list(after, limit));
  for (const thing of IDS) {
    for (const before of ['', ...COMMAND_IDS]) {
      deepStrictEqual(await store.listCommands(thing, before, limit), model.listCommands(thing, before, limit));
    }
  }
  for (const nowMs of [0, 0.5, 1, 4, 1e15]) {
    deepStrictEqual(await store.dueCommands(nowMs, limit), model.dueCommands(nowMs, limit));
  }
}
