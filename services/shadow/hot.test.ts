import fc from 'fast-check';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { test } from 'tap';
import { Hot } from './hot.js';

interface Box {
  readonly id: string;
  version: number;
}

/** A store whose loads are answered when the test says so, with what was stored when they were asked. */
class SlowStore {
  readonly versions = new Map<string, number>();
  readonly loads: string[][] = [];
  readonly #answers: (() => void)[] = [];

  load(ids: readonly string[]): Promise<Box[]> {
    this.loads.push([...ids]);
    const found = ids.map((id) => ({ id, version: this.versions.get(id) ?? 0 }));
    return new Promise((resolve) => this.#answers.push(() => resolve(found)));
  }

  async answer(): Promise<void> {
    this.#answers.shift()?.();
    await nextTurn();
  }

  get waiting(): number {
    return this.#answers.length;
  }
}

void test('an id that many ask for at once is loaded once, and all get the same instance', async (t) => {
  const store = new SlowStore();
  const hot = new Hot<Box>(10, (ids) => store.load(ids));
  const first = hot.fill(['a', 'b', 'a']);
  const second = hot.fill(['b', 'c']);
  await store.answer();
  await store.answer();
  await Promise.all([first, second]);
  t.strictSame(store.loads, [['a', 'b'], ['c']]);
  const box = hot.peek('b');
  await hot.fill(['b']);
  t.equal(hot.peek('b'), box);
  t.equal(store.loads.length, 2);
});

void test('what was not used since the clock came by goes first, and what is pinned stays', async (t) => {
  const hot = new Hot<Box>(3, (ids) => Promise.resolve(ids.map((id) => ({ id, version: 0 }))));
  await hot.fill(['a', 'b', 'c', 'd']);
  t.equal(hot.size, 3);
  t.equal(hot.peek('a'), undefined, 'it was the first');
  const b = hot.peek('b')!;
  await hot.fill(['e']);
  t.equal(hot.peek('c'), undefined, 'it was not used');
  t.equal(hot.peek('b'), b);
  const slot = hot.find('b')!;
  hot.pin(slot);
  t.equal(hot.pinned, 1);
  for (let i = 0; i < 20; i++) await hot.fill([`other-${i}`]);
  t.equal(hot.find('b'), slot, 'it is pinned');
  t.equal(hot.size, 4, 'what is pinned is beside what is kept');
  hot.unpin(slot);
  t.equal(hot.size, 3);
  t.equal(hot.pinned, 0);
  t.equal(hot.find('b'), slot, 'it was used just now');
  for (let i = 0; i < 20; i++) await hot.fill([`more-${i}`]);
  t.equal(hot.find('b'), undefined);
  t.throws(() => hot.unpin(slot));
});

void test('what is put is there until it is unpinned, whoever else is', async (t) => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.record({ id: fc.nat({ max: 12 }), do: fc.constantFrom('put', 'unpin', 'use', 'fill') }), {
        maxLength: 200,
      }),
      fc.integer({ min: 1, max: 4 }),
      async (steps, max) => {
        const hot = new Hot<Box>(max, (ids) => Promise.resolve(ids.map((id) => ({ id, version: 0 }))));
        const pinned = new Map<string, number>();
        for (const { id: number, do: what } of steps) {
          const id = String(number);
          const pins = pinned.get(id) ?? 0;
          if (what === 'put') {
            hot.pin(hot.put(id, { id, version: number }));
            pinned.set(id, pins + 1);
          } else if (what === 'unpin' && pins > 0) {
            hot.unpin(hot.find(id)!);
            if (pins === 1) pinned.delete(id);
            else pinned.set(id, pins - 1);
          } else if (what === 'use') hot.peek(id);
          else if (what === 'fill') await hot.fill([id]);
          for (const [each, count] of pinned) {
            if (hot.find(each)?.pins !== count) throw new Error(`${each} is gone, or pinned otherwise`);
          }
          if (hot.pinned !== pinned.size || hot.size > max + pinned.size) throw new Error(`${hot.size} are there`);
        }
      },
    ),
    { numRuns: 300 },
  );
  t.pass();
});

void test('a load that fails rejects for all who wait, and is tried anew', async (t) => {
  let fails = true;
  const hot = new Hot<Box>(10, (ids) =>
    fails ? Promise.reject(new Error('away')) : Promise.resolve(ids.map((id) => ({ id, version: 0 }))),
  );
  const both = [hot.fill(['a']), hot.fill(['a'])];
  for (const fill of both) await t.rejects(fill, { message: 'away' });
  fails = false;
  await hot.fill(['a']);
  t.ok(hot.peek('a'));
});

void test('a value that is changed, written and pushed out is never replaced by an older one', async (t) => {
  const ids = ['a', 'b', 'c', 'd'];
  const step = fc.oneof(
    fc.record({ do: fc.constant('fill' as const), id: fc.constantFrom(...ids) }),
    fc.record({ do: fc.constant('answer' as const), id: fc.constantFrom(...ids) }),
    fc.record({ do: fc.constant('change' as const), id: fc.constantFrom(...ids) }),
    fc.record({ do: fc.constant('write' as const), id: fc.constantFrom(...ids) }),
  );
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 60 }), async (steps) => {
      const store = new SlowStore();
      const hot = new Hot<Box>(2, (wanted) => store.load(wanted));
      const latest = new Map<string, number>();
      const dirty = new Map<string, Box>();
      const fills: Promise<void>[] = [];
      const check = (): void => {
        for (const id of ids) {
          const box = hot.peek(id);
          if (box !== undefined && box.version !== (latest.get(id) ?? 0)) throw new Error(`${id} went back`);
        }
      };
      for (const { do: what, id } of steps) {
        const box = hot.peek(id);
        if (what === 'fill') fills.push(hot.fill([id]));
        else if (what === 'answer') await store.answer();
        else if (what === 'change' && box !== undefined) {
          box.version++;
          latest.set(id, box.version);
          if (!dirty.has(id)) hot.pin(hot.find(id)!);
          dirty.set(id, box);
        } else if (what === 'write') {
          const written = dirty.get(id);
          if (written === undefined) continue;
          dirty.delete(id);
          store.versions.set(id, written.version);
          hot.unpin(hot.find(id)!);
        }
        check();
      }
      while (store.waiting > 0) await store.answer();
      await Promise.all(fills);
      check();
    }),
    { numRuns: 300 },
  );
  t.pass();
});
