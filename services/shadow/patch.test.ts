import fc from 'fast-check';
import { test } from 'tap';
import { anyPatch } from '../../test/support/shadow-json.js';
import { Branch } from './branch.js';
import type { JsonObject } from './json.js';
import { checkPatch, jsonBytes, patchMetadata } from './patch.js';
import { RequestError } from './request-error.js';
import { Section } from './section.js';

function check(text: string, depth = 8): number {
  return checkPatch(JSON.parse(text) as JsonObject, 'reported', depth);
}

function refusal(text: string, depth = 8): string {
  try {
    check(text, depth);
  } catch (error) {
    if (error instanceof RequestError && error.status === 400) return error.message;
    throw error;
  }
  return '';
}

void test('a null inside an array is refused with its path, elsewhere it is a removal', (t) => {
  t.match(refusal('{"a":{"b":[1,null]}}'), 'state.reported.a.b[1] is null');
  t.match(refusal('{"a":[[{"b":null}]]}'), 'state.reported.a[0][0].b is null');
  t.equal(refusal('{"a":null,"b":{"c":null},"d":[1,{"e":{}}]}'), '');
  t.end();
});

void test('a patch is refused that is nested deeper than the limit; the section and arrays are levels', (t) => {
  const nested = (levels: number): string => `${'{"a":'.repeat(levels)}1${'}'.repeat(levels)}`;
  t.equal(refusal(nested(8)), '');
  t.match(refusal(nested(9)), 'too many levels of nesting at state.reported.a.a.a.a.a.a.a.a; maximum is 8');
  t.match(refusal(nested(60_000)), 'too many levels');
  t.equal(refusal('{"a":[1]}', 2), '');
  t.match(refusal('{"a":[[1]]}', 2), 'state.reported.a[0]');
  t.match(refusal('{"a":[{}]}', 2), 'state.reported.a[0]');
  t.match(refusal('{"a":{}}', 1), 'state.reported.a');
  t.end();
});

void test('a number is refused that JSON cannot write again', (t) => {
  t.match(refusal('{"a":1e999}'), 'state.reported.a is larger');
  t.match(refusal('{"a":[0,-1e999]}'), 'state.reported.a[1] is larger');
  t.end();
});

void test('what is no JSON value is refused', (t) => {
  for (const value of [undefined, 1n, Symbol('x'), () => 1]) {
    t.throws(
      () => checkPatch({ a: value } as unknown as JsonObject, 'desired', 8),
      new RequestError(400, 'state.desired.a is no JSON value'),
    );
  }
  t.end();
});

void test('jsonBytes is the size of the JSON string in UTF-8', (t) => {
  fc.assert(
    fc.property(fc.oneof(fc.string({ unit: 'binary' }), fc.string(), fc.constant('\ud800\n\u0001"')), (text) => {
      return jsonBytes(text) === Buffer.byteLength(JSON.stringify(text));
    }),
  );
  t.end();
});

void test('a branch knows the size of its JSON', (t) => {
  fc.assert(
    fc.property(anyPatch, (patch) => {
      const { root } = new Section();
      new Section(root).merge(patch, 1);
      return root.jsonBytes() === Buffer.byteLength(JSON.stringify(root.toJson()));
    }),
  );
  t.equal(new Branch(0).jsonBytes(), 2);
  t.end();
});

void test('a patch never adds more bytes than was counted for it', (t) => {
  fc.assert(
    fc.property(fc.array(anyPatch, { maxLength: 6 }), (patches) => {
      const section = new Section();
      let bound = 2;
      for (const [at, patch] of patches.entries()) {
        const growth = checkPatch(patch, 'reported', 8);
        bound += growth - section.merge(patch, at).replaced;
        if (section.root.jsonBytes() > bound) return false;
      }
      return true;
    }),
    { numRuns: 2_000 },
  );
  t.end();
});

void test('the longest numbers are counted in full', (t) => {
  for (const number of [-0.0000012345678901234567, -1.7976931348623157e308, -2_147_483_648, Number.MIN_SAFE_INTEGER]) {
    t.ok(check(JSON.stringify({ a: number })) >= JSON.stringify({ a: number }).length, String(number));
  }
  t.end();
});

void test('metadata of a patch names its values and objects, not its removals', (t) => {
  const patch = JSON.parse('{"a":1,"b":{"c":[1],"d":null},"e":{},"f":{"g":null},"h":null}') as JsonObject;
  t.equal(JSON.stringify(patchMetadata(patch, 5)), '{"a":{"timestamp":5},"b":{"c":{"timestamp":5}},"e":{}}');
  t.end();
});
