import fc from 'fast-check';
import { test } from 'tap';
import { anyPatch } from '../../test/support/shadow-json.js';
import type { ShadowUpdate } from './api.js';
import { isJsonObject, type Json, type JsonObject } from './json.js';
import { RequestError } from './request-error.js';
import { ShadowDocument, type DocumentLimits } from './shadow-document.js';

const LIMITS: DocumentLimits = { documentBytes: 8_192, depth: 8 };

function plain(value: unknown): unknown {
  return JSON.parse(JSON.stringify(value));
}

/** The error that a call throws as a RequestError. */
function refusal(work: () => unknown): RequestError {
  try {
    work();
  } catch (error) {
    if (error instanceof RequestError) return error;
    throw error;
  }
  throw new Error('was not refused');
}

function desiredAndReported(desired: JsonObject, reported: JsonObject): ShadowDocument {
  const document = new ShadowDocument();
  document.update({ desired, reported }, 1, LIMITS);
  return document;
}

function deltaOf(desired: string, reported: string): string | undefined {
  return desiredAndReported(JSON.parse(desired) as JsonObject, JSON.parse(reported) as JsonObject).deltaText();
}

void test('a document shows desired, reported, delta and the time of every leaf', (t) => {
  const document = new ShadowDocument();
  document.applyReport({ valve: 'open', pump: { on: true } }, 1_000, LIMITS);
  document.update({ desired: { valve: 'closed', pump: { on: true } } }, 2_000, LIMITS);
  t.strictSame(plain(document.view()), {
    state: {
      desired: { valve: 'closed', pump: { on: true } },
      reported: { valve: 'open', pump: { on: true } },
      delta: { valve: 'closed' },
    },
    metadata: {
      desired: { valve: { timestamp: 2_000 }, pump: { on: { timestamp: 2_000 } } },
      reported: { valve: { timestamp: 1_000 }, pump: { on: { timestamp: 1_000 } } },
    },
    version: 2,
    timestamp: 2_000,
  });
  t.end();
});

void test('sections that are empty are left out, and delta too', (t) => {
  const document = new ShadowDocument();
  t.strictSame(plain(document.view()), { state: {}, metadata: {}, version: 0, timestamp: 0 });
  document.update({ desired: { a: 1 } }, 1, LIMITS);
  document.update({ desired: null }, 2, LIMITS);
  t.strictSame(plain(document.view()), { state: {}, metadata: {}, version: 2, timestamp: 2 });
  t.end();
});

void test('the version counts every accepted change, an update of both sections once', (t) => {
  const document = new ShadowDocument();
  t.equal(document.update({ desired: { a: 1 }, reported: { a: 1 } }, 10, LIMITS)['version'], 1);
  t.equal(document.update({ desired: {} }, 11, LIMITS)['version'], 2, 'an empty section is an update too');
  t.ok(document.applyReport({ a: 2 }, 12, LIMITS));
  t.equal(document.version, 3);
  t.notOk(document.applyReport({ a: 3 }, 9, LIMITS));
  t.notOk(document.applyReport({}, 13, LIMITS), 'an empty report says nothing');
  t.equal(document.version, 3);
  t.equal(document.timestamp, 12);
  t.ok(document.applyReport({ b: 3 }, 9, LIMITS), 'late news are news');
  t.equal(document.version, 4);
  t.equal(document.timestamp, 12, 'the time of a document does not go back');
  t.end();
});

void test('delta is every desired attribute that differs from reported', (t) => {
  const cases: readonly (readonly [desired: string, reported: string, delta: string | undefined])[] = [
    ['{"a":1}', '{"a":1}', undefined],
    ['{"a":1}', '{"a":2}', '{"a":1}'],
    ['{"a":1}', '{"a":"1"}', '{"a":1}'],
    ['{"a":1}', '{}', '{"a":1}'],
    ['{}', '{"a":1}', undefined],
    ['{"a":{"b":1,"c":2}}', '{"a":{"b":1,"c":3,"d":4}}', '{"a":{"c":2}}'],
    ['{"a":{"b":{"c":1}}}', '{"a":{"b":{}}}', '{"a":{"b":{"c":1}}}'],
    ['{"a":{"b":1}}', '{"a":1}', '{"a":{"b":1}}'],
    ['{"a":1}', '{"a":{"b":1}}', '{"a":1}'],
    ['{"a":[1,{"b":2,"c":[3]}]}', '{"a":[1,{"c":[3],"b":2}]}', undefined],
    ['{"a":[1,2]}', '{"a":[2,1]}', '{"a":[1,2]}'],
    ['{"a":[1,2]}', '{"a":[1]}', '{"a":[1,2]}'],
    ['{"a":[{"b":1}]}', '{"a":[{"b":1,"c":1}]}', '{"a":[{"b":1}]}'],
    ['{"a":[{"toString":1}]}', '{"a":[{"b":1}]}', '{"a":[{"toString":1}]}'],
    ['{"a":[]}', '{"a":{}}', '{"a":[]}'],
    ['{"a":{},"b":{"c":{}}}', '{}', undefined],
    ['{"a":{}}', '{"a":1}', '{"a":{}}'],
    ['{"__proto__":{"x":1}}', '{}', '{"__proto__":{"x":1}}'],
  ];
  for (const [desired, reported, delta] of cases) t.equal(deltaOf(desired, reported), delta, `${desired} ${reported}`);
  t.end();
});

/** Paths and JSON of the values of an object, members in order. */
function leaves(value: JsonObject, path = ''): string[] {
  return Object.entries(value).flatMap(([key, each]) =>
    isJsonObject(each) ? leaves(each, `${path}/${key}`) : [`${path}/${key}=${sortedJson(each)}`],
  );
}

function sortedJson(value: Json): string {
  return JSON.stringify(value, (_, each: Json) =>
    isJsonObject(each) ? Object.fromEntries(Object.entries(each).sort(([a], [b]) => (a < b ? -1 : 1))) : each,
  );
}

void test('a device that reports its delta has nothing more to learn, and is as desired', (t) => {
  fc.assert(
    fc.property(anyPatch, anyPatch, (desired, reported) => {
      const document = desiredAndReported(desired, reported);
      const delta = document.deltaText();
      if (delta !== undefined) document.applyReport(JSON.parse(delta) as JsonObject, 2, LIMITS);
      if (document.deltaText() !== undefined) return false;
      const is = new Set(leaves(document.reported.root.toJson()));
      return leaves(document.desired.root.toJson()).every((leaf) => is.has(leaf));
    }),
    { numRuns: 2_000 },
  );
  t.end();
});

void test('delta holds no attribute that is reported as desired, and names nothing that is not desired', (t) => {
  fc.assert(
    fc.property(anyPatch, anyPatch, (desired, reported) => {
      const document = desiredAndReported(desired, reported);
      const delta = leaves(JSON.parse(document.deltaText() ?? '{}') as JsonObject);
      const is = new Set(leaves(document.reported.root.toJson()));
      const should = new Set(leaves(document.desired.root.toJson()));
      return delta.every((leaf) => should.has(leaf) && !is.has(leaf));
    }),
    { numRuns: 2_000 },
  );
  t.end();
});

void test('delta follows every change of either section', (t) => {
  const document = new ShadowDocument();
  document.update({ desired: { a: 1, b: 1 } }, 1, LIMITS);
  t.equal(document.deltaText(), '{"a":1,"b":1}');
  document.applyReport({ a: 1 }, 2, LIMITS);
  t.equal(document.deltaText(), '{"b":1}');
  document.update({ desired: { b: null } }, 3, LIMITS);
  t.equal(document.deltaText(), undefined);
  document.applyReport({ a: 2 }, 4, LIMITS);
  t.equal(document.deltaText(), '{"a":1}');
  document.delete(5);
  t.equal(document.deltaText(), undefined);
  t.end();
});

void test('what was accepted is answered with the fields of the request only', (t) => {
  const document = new ShadowDocument();
  document.update({ desired: { a: 1, z: 1 }, reported: { y: 1 } }, 1, LIMITS);
  const patch = { a: { b: 2 }, c: [1], z: null };
  t.strictSame(plain(document.update({ desired: patch }, 2, LIMITS)), {
    state: { desired: patch },
    metadata: { desired: { a: { b: { timestamp: 2 } }, c: { timestamp: 2 } } },
    version: 2,
    timestamp: 2,
  });
  t.strictSame(plain(document.update({ desired: null, reported: { y: 2 } }, 3, LIMITS)), {
    state: { desired: null, reported: { y: 2 } },
    metadata: { reported: { y: { timestamp: 3 } } },
    version: 3,
    timestamp: 3,
  });
  t.end();
});

void test('an update for another version is a conflict, and changes nothing', (t) => {
  const document = new ShadowDocument();
  const at = (version: number): ShadowUpdate => ({ desired: { a: version }, version });
  document.update(at(0), 1, LIMITS);
  for (const version of [0, 2]) {
    const error = refusal(() => document.update(at(version), 2, LIMITS));
    t.match(error, { status: 409, message: 'Version conflict' });
  }
  t.strictSame(plain(document.view()['state']), { desired: { a: 0 }, delta: { a: 0 } });
  document.update(at(1), 3, LIMITS);
  t.equal(document.version, 2);
  t.end();
});

void test('an update holds also where the clock has gone back', (t) => {
  const document = new ShadowDocument();
  document.update({ desired: { a: 1, b: 1 } }, 1_000, LIMITS);
  document.applyReport({ a: 1 }, 2_000, LIMITS);
  const accepted = document.update({ desired: { a: 2, b: null }, reported: null }, 500, LIMITS);
  t.strictSame(plain(accepted['metadata']), { desired: { a: { timestamp: 1_000 } } });
  t.strictSame(plain(document.view()['state']), { desired: { a: 2 }, delta: { a: 2 } });
  t.end();
});

void test('a deleted document goes on counting, and older reports do not bring it back', (t) => {
  const document = new ShadowDocument();
  document.applyReport({ a: 1, b: 1 }, 1_000, LIMITS);
  document.update({ desired: { a: 2 } }, 5_000, LIMITS);
  t.strictSame(document.delete(9_000), { version: 2, timestamp: 9_000 });
  t.notOk(document.applyReport({ a: 0 }, 999, LIMITS));
  t.ok(document.isDeleted);
  t.match(
    refusal(() => document.update({ desired: { a: 1 }, version: 2 }, 9_001, LIMITS)),
    { status: 409 },
  );
  t.ok(document.applyReport({ a: 3 }, 1_001, LIMITS), 'the next report of a device whose clock is slow');
  t.notOk(document.isDeleted);
  t.strictSame(plain(document.view()), {
    state: { reported: { a: 3 } },
    metadata: { reported: { a: { timestamp: 1_001 } } },
    version: 3,
    timestamp: 9_000,
  });
  t.end();
});

void test('a document over its limit is refused with both numbers, and nothing is changed', (t) => {
  const limits = { documentBytes: 100, depth: 8 };
  const document = new ShadowDocument();
  document.update({ desired: { a: 'x'.repeat(40) } }, 1, limits);
  const before = JSON.stringify(document.view());
  const bytes = JSON.stringify({ desired: { a: 'x'.repeat(40) }, reported: { b: 'y'.repeat(40) } }).length;
  const message = `The payload exceeds the maximum size allowed: the document would have ${bytes} bytes of at most 100`;
  t.match(
    refusal(() => document.applyReport({ b: 'y'.repeat(40) }, 2, limits)),
    { status: 413, message },
  );
  t.match(
    refusal(() => document.update({ desired: { a: null }, reported: { b: 'y'.repeat(90) } }, 2, limits)),
    { status: 413 },
  );
  t.equal(JSON.stringify(document.view()), before);
  t.ok(document.update({ desired: { a: null }, reported: { b: 'y'.repeat(60) } }, 2, limits), 'one goes, one comes');
  t.end();
});

void test('a document that is larger than a lowered limit may change but not grow', (t) => {
  const document = new ShadowDocument();
  document.applyReport({ a: 'x'.repeat(100), b: 1 }, 1, LIMITS);
  const limits = { documentBytes: 50, depth: 8 };
  t.ok(document.applyReport({ b: 2 }, 2, limits));
  t.match(
    refusal(() => document.applyReport({ b: 33 }, 3, limits)),
    { status: 413 },
  );
  t.end();
});

void test('a bad patch of one section keeps the other from being changed', (t) => {
  const document = new ShadowDocument();
  const bad = { a: [null] } as JsonObject;
  t.match(
    refusal(() => document.update({ desired: { a: 1 }, reported: bad }, 1, LIMITS)),
    { status: 400 },
  );
  t.match(
    refusal(() => document.applyReport(bad, 1, LIMITS)),
    { status: 400 },
  );
  t.strictSame(plain(document.view()), { state: {}, metadata: {}, version: 0, timestamp: 0 });
  t.end();
});

void test('a document that grows field by field, or number by number, is refused at the byte that is too many', (t) => {
  const document = new ShadowDocument();
  const limits = { documentBytes: 1_000, depth: 8 };
  const grow = (section: 'desired' | 'reported', name: string, value: number): boolean => {
    const patch = { [name]: value };
    const next = copy(document);
    ask(next, { [section]: patch }, 1, LIMITS);
    const fits = sizeOf(next) <= limits.documentBytes;
    try {
      ask(document, { [section]: patch }, 1, limits);
    } catch (error) {
      t.match(error, { status: 413 });
      return false;
    }
    t.ok(fits, `${sizeOf(document)} bytes`);
    return true;
  };
  for (const section of ['desired', 'reported'] as const) {
    for (let i = 0; i < 30; i++) t.ok(grow(section, `field${i}`, 0));
    for (let i = 0; i < 30; i++) t.ok(grow(section, `field${i}`, 100));
  }
  let grown = 0;
  while (grow(grown % 2 === 0 ? 'desired' : 'reported', `field${30 + (grown >> 1)}`, 1)) grown++;
  t.ok(sizeOf(document) > 1_000 - 12, `${sizeOf(document)} bytes`);
  t.notOk(grow('reported', 'field0', -1.234567890123e-300));
  t.end();
});

interface Asked {
  readonly desired?: JsonObject | null;
  readonly reported?: JsonObject | null;
}

const update: fc.Arbitrary<Asked> = fc.record(
  { desired: fc.option(anyPatch), reported: fc.option(anyPatch) },
  { requiredKeys: [] },
);

/** An update of reported alone comes as a report of the device. */
function ask(document: ShadowDocument, asked: Asked, timeMs: number, limits: DocumentLimits): void {
  if (asked.desired !== undefined || asked.reported === undefined) document.update(asked, timeMs, limits);
  else document.applyReport(asked.reported, timeMs, limits);
}

void test('exactly those changes are refused that would make the document larger than its limit', (t) => {
  let refused = 0;
  fc.assert(
    fc.property(fc.array(update, { maxLength: 12 }), fc.integer({ min: 2, max: 300 }), (updates, documentBytes) => {
      const document = new ShadowDocument();
      for (const [at, each] of updates.entries()) {
        const free = copy(document);
        ask(free, each, at, LIMITS);
        const before = JSON.stringify(document.view());
        const size = sizeOf(free);
        try {
          ask(document, each, at, { documentBytes, depth: 8 });
          if (size > documentBytes && size > sizeOf(JSON.parse(before) as JsonObject)) return false;
          if (JSON.stringify(document.view()) !== JSON.stringify(free.view())) return false;
        } catch (error) {
          refused++;
          if (!(error instanceof RequestError) || error.status !== 413 || size <= documentBytes) return false;
          if (JSON.stringify(document.view()) !== before) return false;
        }
      }
      return true;
    }),
    { numRuns: 1_000 },
  );
  t.ok(refused > 100, `${refused} were refused`);
  t.end();
});

function copy(document: ShadowDocument): ShadowDocument {
  const made = new ShadowDocument(document.desired.clone(), document.reported.clone());
  made.version = document.version;
  made.timestamp = document.timestamp;
  return made;
}

function sizeOf(document: ShadowDocument | JsonObject): number {
  const view = document instanceof ShadowDocument ? document.view() : document;
  const state = view['state'] as Record<string, Json>;
  return Buffer.byteLength(JSON.stringify({ desired: state['desired'], reported: state['reported'] }));
}
