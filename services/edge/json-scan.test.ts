import { deepStrictEqual, equal, ok } from 'node:assert/strict';
import fc from 'fast-check';
import { test } from 'tap';
import { scanArray, scanMember, scanValue, type Span } from './json-scan.js';

/** JSON text with whatever white space and escapes a writer may use, and how deep it nests. */
interface Written {
  readonly text: string;
  readonly depth: number;
}

const space = fc.string({ unit: fc.constantFrom(' ', '\t', '\n', '\r'), maxLength: 2 });

const character = fc.oneof(
  fc.string({ unit: 'grapheme', minLength: 1, maxLength: 1 }).map((text) => JSON.stringify(text).slice(1, -1)),
  fc.nat(0xffff).map((unit) => `\\u${unit.toString(16).padStart(4, '0')}`),
  fc.constantFrom('\\"', '\\\\', '\\/', '\\b', '\\f', '\\n', '\\r', '\\t', '\\u0022', '\\u005C'),
  fc.constantFrom('[', ']', '{', '}', ',', ':', ' ', "'"),
);

const text = fc.array(character, { maxLength: 8 }).map((characters) => `"${characters.join('')}"`);

const number = fc.oneof(
  fc.double({ noNaN: true, noDefaultInfinity: true }).map((value) => JSON.stringify(value)),
  fc.constantFrom('0', '-0', '1E5', '1e+5', '-1.50e-3', '123456789012345678901234567890', '1e400'),
);

const name = fc.oneof(
  fc.constantFrom(
    '"data"',
    '"d\\u0061ta"',
    '"\\u0064ata"',
    '"DATA"',
    '"data "',
    '"\\"data"',
    '"report"',
    '"__proto__"',
  ),
  text,
);

function joined(open: string, parts: readonly Written[], close: string, gap: string): Written {
  const depth = 1 + Math.max(0, ...parts.map((part) => part.depth));
  return { text: `${open}${gap}${parts.map((part) => part.text).join(',')}${close}`, depth };
}

function spaced(value: fc.Arbitrary<Written>): fc.Arbitrary<Written> {
  return fc.tuple(space, value, space).map(([before, { text: inner, depth }, after]) => {
    return { text: before + inner + after, depth };
  });
}

const { value, array, object } = fc.letrec<{ value: Written; array: Written; object: Written }>((tie) => {
  const member = fc.tuple(space, name, space, spaced(tie('value'))).map(([before, key, after, written]) => {
    return { text: `${before}${key}${after}:${written.text}`, depth: written.depth };
  });
  return {
    value: fc.oneof(
      { depthSize: 'medium', withCrossShrink: true },
      fc.oneof(text, number, fc.constantFrom('true', 'false', 'null')).map((leaf) => ({ text: leaf, depth: 0 })),
      tie('array'),
      tie('object'),
    ),
    array: fc
      .tuple(fc.array(spaced(tie('value')), { maxLength: 4 }), space)
      .map(([elements, gap]) => joined('[', elements, ']', gap)),
    object: fc.tuple(fc.array(member, { maxLength: 4 }), space).map(([members, gap]) => joined('{', members, '}', gap)),
  };
});

/** What stands around a value in a frame. */
const surroundings = fc.tuple(
  fc.constantFrom('', ' ', '[', '[1,', '{"a":', '"é",', '[{"data":{}},\n'),
  fc.constantFrom('', ' ', ']', '}', ',1]', '\t,"b":[]}'),
);

const runs = { numRuns: 2_000 };

function parseSpan(bytes: Buffer, span: Span): unknown {
  return JSON.parse(bytes.toString('utf8', span.start, span.end));
}

/** Puts a value into a frame. @returns the frame, and where the value, or the space before it, starts */
function place(written: string, [before, after]: readonly [string, string]): [frame: Buffer, at: number] {
  return [Buffer.from(before + written + after), Buffer.byteLength(before)];
}

void test('scanValue spans the value that JSON.parse reads, and measures its depth', (t) => {
  fc.assert(
    fc.property(spaced(value), surroundings, (written, around) => {
      const [frame, at] = place(written.text, around);
      const span = scanValue(frame, at);
      deepStrictEqual(parseSpan(frame, span), JSON.parse(written.text));
      equal(span.depth, written.depth);
      equal(frame.toString('utf8', span.start, span.end), written.text.trim());
    }),
    runs,
  );
  t.end();
});

void test('scanArray spans every element that JSON.parse reads', (t) => {
  fc.assert(
    fc.property(spaced(array), surroundings, (written, around) => {
      const [frame, at] = place(written.text, around);
      const spans = scanArray(frame, at);
      deepStrictEqual(
        spans.map((span) => parseSpan(frame, span)),
        JSON.parse(written.text),
      );
      equal(1 + Math.max(0, ...spans.map(({ depth }) => depth)), written.depth);
    }),
    runs,
  );
  t.end();
});

void test('scanMember spans the member that JSON.parse reads: the last of its name, however it is written', (t) => {
  let found = 0;
  fc.assert(
    fc.property(
      spaced(object),
      surroundings,
      fc.constantFrom('data', 'report', '__proto__'),
      (written, around, key) => {
        const [frame, at] = place(written.text, around);
        const parsed = JSON.parse(written.text) as Record<string, unknown>;
        const span = scanMember(frame, at, key);
        equal(span !== undefined, Object.hasOwn(parsed, key));
        if (span === undefined) return;
        found++;
        deepStrictEqual(parseSpan(frame, span), Object.getOwnPropertyDescriptor(parsed, key)!.value);
        ok(span.depth < written.depth);
      },
    ),
    runs,
  );
  t.ok(found > 100, `a member was there in ${found} of ${runs.numRuns} runs`);
  t.end();
});

void test('depth is that of a recursive walk of the value', (t) => {
  function depthOf(parsed: unknown): number {
    if (typeof parsed !== 'object' || parsed === null) return 0;
    return 1 + Math.max(0, ...Object.values(parsed).map(depthOf));
  }
  fc.assert(
    fc.property(fc.jsonValue({ maxDepth: 6 }), fc.nat(4), (parsed, indent) => {
      equal(scanValue(Buffer.from(JSON.stringify(parsed, undefined, indent)), 0).depth, depthOf(parsed));
    }),
    runs,
  );
  t.end();
});

void test('text of the size of a frame is scanned without recursion, however deep', (t) => {
  const levels = 131_072;
  const frame = Buffer.from('['.repeat(levels) + ']'.repeat(levels));
  t.same(scanValue(frame, 0), { start: 0, end: 2 * levels, depth: levels });
  t.same(scanArray(frame, 0), [{ start: 1, end: 2 * levels - 1, depth: levels - 1 }]);
  t.end();
});
