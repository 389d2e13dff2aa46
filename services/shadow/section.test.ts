import fc from 'fast-check';
import { test } from 'tap';
import { isJsonObject, type Json, type JsonObject } from './json.js';
import { MAX_REMOVALS } from './removals.js';
import { Section } from './section.js';
import { anyPatch } from '../../test/support/shadow-json.js';

interface Said {
  readonly patch: JsonObject | null;
  readonly timeMs: number;
}

function json(text: string): JsonObject {
  return JSON.parse(text) as JsonObject;
}

function section(...said: readonly (readonly [timeMs: number, patch: string])[]): Section {
  const made = new Section();
  for (const [timeMs, patch] of said) made.merge(JSON.parse(patch) as JsonObject | null, timeMs);
  return made;
}

/** What a section holds, with its times; keys in order. */
function contents(of: Section): string {
  return sorted({ state: of.root.toJson(), metadata: of.root.metadata() });
}

function sorted(value: Json): string {
  return JSON.stringify(value, (_, each: Json) =>
    isJsonObject(each) ? Object.fromEntries(Object.entries(each).sort(([a], [b]) => (a < b ? -1 : 1))) : each,
  );
}

function state(of: Section): string {
  return sorted(of.root.toJson());
}

void test('only the fields of a patch are changed', (t) => {
  const made = section([1, '{"a":1,"b":{"c":2,"d":3}}'], [2, '{"b":{"d":4},"e":"x"}']);
  t.equal(state(made), '{"a":1,"b":{"c":2,"d":4},"e":"x"}');
  t.strictSame(
    JSON.parse(JSON.stringify(made.root.metadata())),
    json('{"a":{"timestamp":1},"b":{"c":{"timestamp":1},"d":{"timestamp":2}},"e":{"timestamp":2}}'),
  );
  t.end();
});

void test('null removes a field, and a null section removes everything', (t) => {
  t.equal(state(section([1, '{"a":1,"b":{"c":2,"d":3}}'], [2, '{"a":null,"b":{"c":null}}'])), '{"b":{"d":3}}');
  t.equal(state(section([1, '{"a":1,"b":{"c":2}}'], [2, '{"b":null}'])), '{"a":1}');
  t.equal(state(section([1, '{"a":1,"b":{"c":2}}'], [2, 'null'])), '{}');
  t.equal(state(section([1, '{"a":null}'])), '{}');
  t.end();
});

void test('an array is replaced whole and has one time', (t) => {
  const made = section([1, '{"a":[1,{"b":2}]}'], [2, '{"a":[{"c":3}]}']);
  t.equal(contents(made), '{"metadata":{"a":{"timestamp":2}},"state":{"a":[{"c":3}]}}');
  t.end();
});

void test('an empty object is kept, makes nothing empty, and takes the place of a value', (t) => {
  t.equal(state(section([1, '{"a":{}}'])), '{"a":{}}');
  t.equal(state(section([1, '{"a":{"b":1}}'], [2, '{"a":{}}'])), '{"a":{"b":1}}');
  t.equal(state(section([1, '{"a":3}'], [2, '{"a":{}}'])), '{"a":{}}');
  t.equal(state(section([1, '{"a":{"b":1}}'], [2, '{"a":{"b":null}}'])), '{"a":{}}', 'its last field removed');
  t.equal(state(section([1, '{"a":{"b":null,"c":{"d":null}}}'])), '{}', 'an object of removals makes none');
  t.equal(state(section([1, '{"a":3}'], [2, '{"a":{"b":null}}'])), '{}', 'but it is no value any more');
  t.end();
});

void test('an older time than that of a field neither overwrites nor removes it; an equal one does', (t) => {
  for (const patch of ['{"a":2}', '{"a":null}', '{"a":{"b":1}}', '{"a":[2]}', 'null']) {
    const late = section([5, '{"a":1}']);
    t.notOk(late.merge(JSON.parse(patch) as JsonObject, 4).changed, `${patch} late`);
    t.equal(contents(late), contents(section([5, '{"a":1}'])), `${patch} late`);
    const equal = section([5, '{"a":1}']);
    t.ok(equal.merge(JSON.parse(patch) as JsonObject, 5).changed, `${patch} at the same time`);
    t.equal(contents(equal), contents(section([5, patch])), `${patch} at the same time`);
  }
  t.end();
});

void test('of a late patch the fields hold that are not older', (t) => {
  const made = section([1, '{"a":1,"b":1}'], [5, '{"a":5}']);
  t.ok(made.merge({ a: 3, b: 3, c: 3 }, 3).changed);
  t.equal(state(made), '{"a":5,"b":3,"c":3}');
  t.end();
});

void test('a late value in the place of an object removes what is older in it, and sets nothing', (t) => {
  const made = section([1, '{"a":{"b":1,"c":1}}'], [5, '{"a":{"b":5}}'], [3, '{"a":7}']);
  t.equal(state(made), '{"a":{"b":5}}');
  made.merge({ a: { c: 2, d: 4 } }, 2);
  t.equal(state(made), '{"a":{"b":5}}', 'what that removed does not come back');
  made.merge({ a: { c: 4 } }, 4);
  t.equal(state(made), '{"a":{"b":5,"c":4}}');
  t.equal(state(section([1, '{"a":{"b":1}}'], [3, '{"a":7}'])), '{"a":7}', 'in time it replaces the object');
  t.end();
});

void test('a late removal of an object takes what is older in it', (t) => {
  const made = section([1, '{"a":{"b":1,"c":{"d":1}}}'], [5, '{"a":{"b":5}}'], [3, '{"a":null}']);
  t.equal(state(made), '{"a":{"b":5}}');
  t.end();
});

void test('a field that was removed does not come back by a late older report', (t) => {
  const removals: readonly (readonly [whole: string, removal: string])[] = [
    ['{"a":1}', '{"a":null}'],
    ['{"a":{"b":1}}', '{"a":{"b":null}}'],
    ['{"a":{"b":1}}', '{"a":null}'],
    ['{"a":{"b":1}}', 'null'],
  ];
  for (const [whole, removal] of removals) {
    const made = section([1, whole], [5, removal]);
    const before = state(made);
    t.notOk(made.merge(json(whole), 4).changed, `${removal}: older`);
    t.equal(state(made), before);
    t.ok(made.merge(json(whole), 6).changed, `${removal}: newer`);
    t.equal(state(made), whole);
  }
  const first = section([5, '{"a":null}'], [3, '{"a":1,"b":1}']);
  t.equal(state(first), '{"b":1}', 'also where the removal came before the field was ever known');
  t.end();
});

void test('the memory of removals is bounded: the newest are kept', (t) => {
  const made = new Section();
  for (let i = 1; i <= 2 * MAX_REMOVALS; i++) made.merge({ [`field${i}`]: null }, i);
  t.equal(made.removals?.list.length, MAX_REMOVALS);
  t.notOk(made.merge({ [`field${2 * MAX_REMOVALS}`]: 'old' }, 0).changed, 'the newest is remembered');
  t.ok(made.merge({ field1: 'old' }, 0).changed, 'the oldest is not');

  const long = new Section();
  for (let i = 1; i <= MAX_REMOVALS; i++) long.merge({ [`${i}${'x'.repeat(1_000)}`]: null }, i);
  t.ok(long.removals!.list.length < 5, 'long names count');
  t.end();
});

void test('a removal that something newer has taken the place of is forgotten', (t) => {
  const made = new Section();
  for (let i = 1; i <= 1_000; i++) {
    made.merge({ a: null, b: { c: null } }, 2 * i);
    made.merge({ a: i, b: { c: i } }, 2 * i + 1);
  }
  t.strictSame(made.removals?.list, []);
  t.end();
});

void test('names of every kind are only names', (t) => {
  const text =
    '{"1":1,"":0,"__proto__":{"polluted":true},"constructor":{"prototype":{"x":1}},"hasOwnProperty":1,"toString":null}';
  const made = section([1, text]);
  t.strictSame(made.root.names.list.length, 5);
  t.equal(
    state(made),
    '{"1":1,"":0,"__proto__":{"polluted":true},"constructor":{"prototype":{"x":1}},"hasOwnProperty":1}',
  );
  t.equal(({} as { polluted?: boolean }).polluted, undefined);
  made.merge(json('{"__proto__":null}'), 2);
  t.equal(state(made), '{"1":1,"":0,"constructor":{"prototype":{"x":1}},"hasOwnProperty":1}');
  t.end();
});

/** The simplest thing that could be right: patches in the order of their times, on plain maps, with no time kept. */
type Tree = Map<string, Json | Tree>;

function fold(said: readonly Said[]): string {
  const root: Tree = new Map();
  for (const { patch } of said.toSorted((a, b) => a.timeMs - b.timeMs)) {
    if (patch === null) root.clear();
    else foldInto(root, patch);
  }
  return sorted(plain(root));
}

function foldInto(tree: Tree, patch: JsonObject): void {
  for (const [key, value] of Object.entries(patch)) {
    const current = tree.get(key);
    if (value === null) tree.delete(key);
    else if (!isJsonObject(value)) tree.set(key, value);
    else if (current instanceof Map) foldInto(current, value);
    else {
      tree.delete(key);
      if (onlyRemoves(value)) continue;
      const child: Tree = new Map();
      foldInto(child, value);
      tree.set(key, child);
    }
  }
}

function onlyRemoves(patch: JsonObject): boolean {
  const values = Object.values(patch);
  return values.length > 0 && values.every((value) => value === null || (isJsonObject(value) && onlyRemoves(value)));
}

function plain(tree: Tree): JsonObject {
  const object = Object.create(null) as Record<string, Json>;
  for (const [key, value] of tree) object[key] = value instanceof Map ? plain(value) : value;
  return object;
}

const history: fc.Arbitrary<readonly Said[]> = fc
  .array(fc.oneof({ weight: 20, arbitrary: anyPatch }, { weight: 1, arbitrary: fc.constant(null) }), { maxLength: 8 })
  .map((patches) => patches.map((patch, at) => ({ patch, timeMs: 1_000 + at })));

void test('reports in the order of their times make what a plain fold makes', (t) => {
  fc.assert(
    fc.property(history, (said) => {
      const made = new Section();
      for (const { patch, timeMs } of said) made.merge(patch, timeMs);
      return state(made) === fold(said);
    }),
    { numRuns: 2_000 },
  );
  t.end();
});

void test('the order in which reports of distinct times arrive does not matter', (t) => {
  const shuffled = history.chain((said) =>
    fc.tuple(fc.constant(said), fc.shuffledSubarray([...said], { minLength: said.length })),
  );
  fc.assert(
    fc.property(shuffled, ([said, arrived]) => {
      const inTime = new Section();
      for (const { patch, timeMs } of said) inTime.merge(patch, timeMs);
      const late = new Section();
      for (const { patch, timeMs } of arrived) late.merge(patch, timeMs);
      return state(late) === fold(said) && contents(late) === contents(inTime);
    }),
    { numRuns: 5_000 },
  );
  t.end();
});

void test('a merge that says nothing changed has left state and times as they were', (t) => {
  fc.assert(
    fc.property(history, anyPatch, fc.integer({ min: 900, max: 1_010 }), (said, patch, timeMs) => {
      const made = new Section();
      for (const each of said) made.merge(each.patch, each.timeMs);
      const before = contents(made);
      return made.merge(patch, timeMs).changed || contents(made) === before;
    }),
    { numRuns: 2_000 },
  );
  t.end();
});

void test('a cleared section is empty, and open only to what is newer than all that was in it', (t) => {
  const made = section([5, '{"a":1,"b":{"c":1}}'], [7, '{"d":null}']);
  made.clear();
  t.equal(state(made), '{}');
  t.notOk(made.merge({ a: 2 }, 6).changed);
  t.ok(made.merge({ a: 2 }, 8).changed);
  t.equal(state(made), '{"a":2}');
  t.end();
});
