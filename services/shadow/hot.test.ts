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

void test('what was used least recently goes first, and what is pinned stays', async (t) => {
  const hot = new Hot<Box>(2, (ids) => Promise.resolve(ids.map((id) => ({ id, version: 0 }))));
  await hot.fill(['a']);
  const a = hot.peek('a')!;
  hot.pin('a', a);
  await hot.fill(['b']);
  await hot.fill(['c']);
  await hot.fill(['d']);
  t.equal(hot.peek('b'), undefined);
  t.equal(hot.peek('a'), a, 'it is pinned');
  hot.unpin('a');
  t.equal(hot.peek('a'), a, 'it was used just now');
  await hot.fill(['e', 'f']);
  t.equal(hot.peek('a'), undefined);
  t.throws(() => hot.unpin('a'));
  t.throws(() => hot.replace('a', a));
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
          if (!dirty.has(id)) hot.pin(id, box);
          dirty.set(id, box);
        } else if (what === 'write') {
          const written = dirty.get(id);
          if (written === undefined) continue;
          dirty.delete(id);
          store.versions.set(id, written.version);
          hot.unpin(id);
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
