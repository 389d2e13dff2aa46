import { equal, ok } from 'node:assert/strict';
import fc from 'fast-check';
import { test } from 'tap';
import { BodyBudget } from '../../../shared/body-buffer.js';
import { messageOf as textOf } from '../../../shared/errors.js';
import { RequestError } from '../request-error.js';
import { Body } from './body.js';
import { describeJsonError, findJsonError } from './json-error.js';
import { readFields, readJson } from './json-body.js';
import { TokenBucket } from './token-bucket.js';

const runs = { numRuns: 3000 };

function isJson(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}

/** JSON, and JSON with characters replaced, left out or put in. */
const damaged = fc
  .tuple(
    fc.json({ maxDepth: 4 }),
    fc.array(fc.tuple(fc.nat(), fc.nat(2), fc.constantFrom(...Array.from('{}[],:"\\/ntu0189.eE+-\u0000 \n\té'))), {
      maxLength: 3,
    }),
  )
  .map(([json, changes]) => {
    let text = json;
    for (const [where, removed, put] of changes) {
      const at = where % (text.length + 1);
      text = text.slice(0, at) + put + text.slice(at + removed);
    }
    return text;
  });

void test('an error is found in a text exactly where JSON.parse finds one, however it is damaged', (t) => {
  let bad = 0;
  fc.assert(
    fc.property(damaged, (text) => {
      const error = findJsonError(text);
      equal(error === undefined, isJson(text));
      if (error !== undefined) bad++;
    }),
    runs,
  );
  t.ok(bad > 500, `${bad} texts were bad`);
  t.end();
});

void test('the position of an error is that of JSON.parse, where that has one, or the start of its token', (t) => {
  let compared = 0;
  fc.assert(
    fc.property(damaged, (text) => {
      const theirs = /at position (\d+)/.exec(messageOf(() => JSON.parse(text)))?.[1];
      if (theirs === undefined) return;
      const ours = findJsonError(text)!.at;
      ok(ours <= Number(theirs) && !/[\s"{}[\],:]/.test(text.slice(ours, Number(theirs))));
      compared++;
    }),
    runs,
  );
  t.ok(compared > 500, `${compared} positions were compared`);
  t.end();
});

void test('the position is that of the character', (t) => {
  const cases: readonly (readonly [text: string, message: string])[] = [
    ['', 'expected a value at position 0 (line 1, column 1), found the end of the body'],
    ['{"a":1,}', 'expected a key in quotes at position 7 (line 1, column 8), found "}"'],
    ['[1,]', 'expected a value at position 3 (line 1, column 4), found "]"'],
    ['[1 2]', 'expected a comma or ] at position 3 (line 1, column 4), found "2"'],
    ['{"a" 1}', 'expected a colon at position 5 (line 1, column 6), found "1"'],
    ['{"a":\n tru}', 'expected a value at position 7 (line 2, column 2), found "t"'],
    ['{} x', 'expected the end at position 3 (line 1, column 4), found "x"'],
    ['"a\nb"', 'expected no control character in a string at position 2 (line 1, column 3), found "\\n"'],
    ['"a\\x"', 'expected an escape that JSON has at position 2 (line 1, column 3), found "\\\\"'],
    ['"abc', 'expected a closing quote at position 4 (line 1, column 5), found the end of the body'],
    ['\uFEFF{}', 'expected a value at position 0 (line 1, column 1), found "\uFEFF"'],
    ['01', 'expected the end at position 1 (line 1, column 2), found "1"'],
    ["{'a':1}", 'expected a key in quotes or } at position 1 (line 1, column 2), found "\'"'],
  ];
  for (const [text, message] of cases) t.equal(describeJsonError(text, findJsonError(text)!), message, text);
  t.end();
});

void test('a body of nothing but brackets is refused, not run into the ground', (t) => {
  for (const text of ['['.repeat(2_000_000), '{"a":'.repeat(400_000), `${'['.repeat(900_000)}${']'.repeat(900_000)}`]) {
    t.equal(
      statusOf(() => readJson(Buffer.from(text))),
      400,
    );
  }
  t.end();
});

void test('JSON that is not refused is what JSON.parse makes of it', (t) => {
  let refused = 0;
  fc.assert(
    fc.property(fc.oneof(damaged, fc.string()), (text) => {
      let value: unknown;
      try {
        value = readJson(Buffer.from(text));
      } catch (error) {
        ok(error instanceof RequestError && error.status === 400 && error.message.length < 300);
        ok(!isJson(text) || /__proto__|1?e|[0-9]/i.test(text));
        refused++;
        return;
      }
      equal(JSON.stringify(value), JSON.stringify(JSON.parse(text)));
    }),
    runs,
  );
  t.ok(refused > 500, `${refused} were refused`);
  t.end();
});

void test('fields are own fields: what every object inherits is none', (t) => {
  const allowed = ['name', 'toString'] as const;
  t.equal(readFields(JSON.parse('{}'), 'the body', allowed).name, undefined);
  t.throws(() => readFields({ constructor: 1 }, 'the body', allowed), /unknown field "constructor"/);
  t.equal(
    statusOf(() => readFields([], 'the body', allowed)),
    400,
  );
  t.end();
});

void test('a body is the bytes of its pieces, and its budget comes back', (t) => {
  fc.assert(
    fc.property(fc.array(fc.uint8Array({ maxLength: 3_000 }), { maxLength: 40 }), (pieces) => {
      const budget = new BodyBudget(1_000_000);
      const body = new Body(20_000, budget);
      const all = Buffer.concat(pieces);
      let isCut = false;
      try {
        for (const piece of pieces) body.add(piece);
      } catch (error) {
        ok(error instanceof RequestError && error.status === 413);
        isCut = true;
      }
      equal(isCut, all.length > 40_000);
      ok(budget.used <= 20_000);
      if (all.length <= 20_000) ok(body.bytes.equals(all));
      else
        equal(
          statusOf(() => body.bytes),
          413,
        );
      body.release();
      body.release();
      equal(budget.used, 0);
    }),
    { numRuns: 300 },
  );
  t.end();
});

void test('a body that the budget does not have room for is refused with 503, and gives back what it had', (t) => {
  const budget = new BodyBudget(10_000);
  const first = new Body(20_000, budget);
  first.add(Buffer.alloc(6_000));
  const second = new Body(20_000, budget);
  t.equal(
    statusOf(() => second.add(Buffer.alloc(5_000))),
    503,
  );
  second.release();
  t.equal(budget.used, 6_000);
  first.release();
  t.equal(budget.used, 0);
  t.end();
});

void test('a bucket gives its rate and no more, however the time goes by', (t) => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 50 }), fc.array(fc.nat(400), { maxLength: 200 }), (rate, steps) => {
      let nowMs = 1000;
      const bucket = new TokenBucket(rate, () => nowMs);
      let drawn = 0;
      for (const stepMs of steps) {
        nowMs += stepMs;
        if (bucket.draw()) drawn++;
        ok(drawn <= rate + ((nowMs - 1000) / 1000) * rate + 1e-6);
      }
      nowMs += 2000;
      for (let n = 0; n < rate; n++) ok(bucket.draw());
      ok(!bucket.draw());
    }),
    { numRuns: 200 },
  );
  t.end();
});

function statusOf(work: () => unknown): number | undefined {
  try {
    work();
    return undefined;
  } catch (error) {
    return error instanceof RequestError ? error.status : 0;
  }
}

function messageOf(work: () => unknown): string {
  try {
    work();
    return '';
  } catch (error) {
    return textOf(error);
  }
}
