/** Reports that are read and kept without parsing are what they are when they are parsed and merged. */
import fc from 'fast-check';
import { test } from 'tap';
import { Kind, RecordCursor } from '../../shared/batch.js';
import { makeBatch, type TestRecord } from '../../test/support/deliveries.js';
import { encodeThing } from './codec.js';
import type { Json, JsonObject } from './json.js';
import { ReportRows } from './report-rows.js';
import { ReportTemplate } from './report-template.js';
import { RowFinder } from './row-finder.js';
import { Thing } from './thing.js';

const LIMITS = { documentBytes: 512, depth: 3 };

/** Texts of numbers, of which JSON takes some and the template fewer. */
const numberText = fc.oneof(
  { weight: 5, arbitrary: fc.integer({ min: -1e9, max: 1e9 }).map((value) => String(value / 1_000)) },
  fc.integer().map(String),
  fc.double({ noNaN: true, noDefaultInfinity: true }).map((value) => JSON.stringify(value)),
  fc
    .tuple(
      fc.constantFrom('', '-'),
      fc.nat({ max: 99_999_999 }),
      fc.string({ unit: fc.constantFrom('0', '1', '2', '3', '4', '5', '6', '7', '8', '9'), maxLength: 9 }),
    )
    .map(([sign, whole, decimals]) => `${sign}${whole}${decimals === '' ? '' : `.${decimals}`}`),
  fc.constantFrom(
    '-0',
    '0.0',
    '-0.0',
    '01',
    '1.',
    '.5',
    '-',
    '',
    '+1',
    '1e3',
    '1E-7',
    '999999999999999',
    '9999999999999999',
    '0.1',
    '00',
    '-.1',
    '1..2',
  ),
);

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

void test('a template reads what JSON.parse reads, or nothing', (t) => {
  let read = 0;
  const name = fc.oneof(
    fc.string({ maxLength: 6 }),
    fc.constantFrom('__proto__', 'a"b', '1', 'ä', '\ud800', '\u{1f600}', ''),
  );
  const reports = fc.uniqueArray(name, { minLength: 1, maxLength: 5 }).chain((names) =>
    fc.record({
      names: fc.constant(names),
      numbers: fc.array(numberText, { minLength: names.length, maxLength: names.length }),
      /** What is done to the report afterwards: a byte more, less or another one. */
      damage: fc.oneof(
        { weight: 3, arbitrary: fc.constant(null) },
        fc.record({ at: fc.nat(), bytes: fc.constantFrom('', ' ', '}', '0', ',', '"', 'e') }),
      ),
    }),
  );
  fc.assert(
    fc.property(reports, ({ names, numbers, damage }) => {
      let text = `{${names.map((each, at) => `${JSON.stringify(each)}:${numbers[at]!}`).join(',')}}`;
      if (damage !== null) {
        const at = damage.at % (text.length + 1);
        text = text.slice(0, at) + damage.bytes + text.slice(at + 1);
      }
      const bytes = Buffer.from(`"0${text}0}`);
      const template = new ReportTemplate(names);
      const into = new Float64Array(names.length);
      if (!template.read(bytes, 2, bytes.length - 2, into)) return;
      read++;
      const parsed = parse(text) as Record<string, number>;
      const keys = Object.keys(parsed);
      if (keys.length !== names.length) throw new Error(`${text} has ${keys.length} names`);
      for (const [at, each] of names.entries()) {
        if (!Object.is(parsed[each], into[at])) throw new Error(`${each} of ${text} is read as ${into[at]}`);
      }
      const length = Buffer.byteLength(JSON.stringify(parsed));
      if (length > template.maxBytes) throw new Error(`${text} has ${length} bytes, not ${template.maxBytes}`);
    }),
    { numRuns: 2_000 },
  );
  t.ok(read > 300, `${read} were read`);
  t.end();
});

void test('a report of usual numbers is read', (t) => {
  const report = { speed: 1_234.56, height: -7, level: 0, share: 0.125 };
  const bytes = Buffer.from(JSON.stringify(report));
  const into = new Float64Array(4);
  t.ok(new ReportTemplate(Object.keys(report)).read(bytes, 0, bytes.length, into));
  t.strictSame([...into], Object.values(report));
  t.end();
});

interface Step {
  readonly device: number;
  readonly timeMs: number;
  readonly report: unknown;
  readonly look: 'nobody' | 'view' | 'desire' | 'delete' | 'write';
}

const hundredths = fc.integer({ min: -99_999, max: 99_999 }).map((value) => value / 100);

/** Mostly the same fields in the same order. */
const report: fc.Arbitrary<unknown> = fc.oneof(
  { weight: 40, arbitrary: fc.record({ a: fc.integer(), b: hundredths }) },
  { weight: 2, arbitrary: fc.record({ a: fc.integer() }) },
  {
    weight: 1,
    arbitrary: fc.constantFrom<Json>(
      null,
      {},
      { a: null },
      { a: 'text' },
      { b: 1, a: 2 },
      { a: { b: 1 } },
      { a: [null] },
      7,
      {
        a: 1,
        b: 'x'.repeat(600),
      },
    ),
  },
);
const step: fc.Arbitrary<Step> = fc.record({
  device: fc.nat({ max: 3 }),
  timeMs: fc.integer({ min: 1, max: 30 }),
  report,
  look: fc.oneof(
    { weight: 30, arbitrary: fc.constant('nobody' as const) },
    { weight: 3, arbitrary: fc.constant('write' as const) },
    { weight: 1, arbitrary: fc.constantFrom('view' as const, 'desire' as const, 'delete' as const) },
  ),
});

function recordOf({ device, timeMs, report: said }: Step, seq: number): TestRecord {
  // Times mostly go up.
  return { device: `d${device}`, seq, timeMs: seq * 5 + timeMs, kind: Kind.report, payload: JSON.stringify(said) };
}

function merge(thing: Thing, said: unknown, timeMs: number): boolean {
  try {
    return (
      (said === null || (typeof said === 'object' && !Array.isArray(said))) &&
      thing.applyReport(said as JsonObject, timeMs, LIMITS)
    );
  } catch {
    return false;
  }
}

function lookAt(thing: Thing, how: Step['look'], nowMs: number): unknown {
  if (how === 'view') return thing.view('');
  if (how === 'desire')
    return thing.update('', { desired: { a: 1 }, reported: undefined, version: undefined }, nowMs, LIMITS);
  if (how === 'delete' && thing.view('') !== undefined) return thing.delete('', nowMs);
  return undefined;
}

void test('things whose reports go through rows are, at every look and in every byte, those whose reports are merged', (t) => {
  let taken = 0;
  let looks = 0;
  fc.assert(
    fc.property(
      fc.array(step, { minLength: 1, maxLength: 60 }),
      fc.integer({ min: 1, max: 20 }),
      (steps, batchSize) => {
        const rows = new ReportRows();
        const finder = new RowFinder(rows);
        const fast = Array.from({ length: 4 }, (_, at) => new Thing(`d${at}`));
        const slow = Array.from({ length: 4 }, (_, at) => new Thing(`d${at}`));
        const compare = (): void => {
          for (const [at, thing] of fast.entries()) {
            if (!encodeThing(thing).equals(encodeThing(slow[at]!))) throw new Error(`d${at} is another`);
          }
        };
        for (let from = 0; from < steps.length; from += batchSize) {
          const some = steps.slice(from, from + batchSize);
          const batch = makeBatch(
            { epoch: 1, offset: from + 1 },
            some.map((each, at) => recordOf(each, from + at)),
          );
          const found = finder.find(batch).slice();
          const cursor = new RecordCursor(batch);
          for (let at = 0; cursor.next(); at++) {
            const { device, report: said, look } = some[at]!;
            const { deviceIdStart, payloadStart, payloadEnd, timeMs } = cursor;
            const [thing, other] = [fast[device]!, slow[device]!];
            const isTaken =
              (found[at]! !== 0 && rows.put(found[at]!, batch, payloadStart, payloadEnd, timeMs)) ||
              thing.takeReport(rows, batch, deviceIdStart, payloadStart, payloadEnd, timeMs, LIMITS);
            if (isTaken) taken++;
            const accepted = isTaken || merge(thing, JSON.parse(JSON.stringify(said)), timeMs);
            if (accepted !== merge(other, JSON.parse(JSON.stringify(said)), timeMs)) throw new Error('one is refused');
            if (look === 'nobody') continue;
            looks++;
            if (look === 'write') {
              compare();
              rows.clear();
              // What was found before is not asked again: writing is no part of a batch.
              found.fill(0);
            } else if (JSON.stringify(lookAt(thing, look, timeMs)) !== JSON.stringify(lookAt(other, look, timeMs))) {
              throw new Error(`${look} sees another`);
            }
          }
        }
        compare();
      },
    ),
    { numRuns: 1_000 },
  );
  t.ok(taken > 1_000, `${taken} reports went through rows`);
  t.ok(looks > 500, `${looks} looks`);
  t.end();
});

void test('rows of many devices are found by their ids, until they are cleared', (t) => {
  const rows = new ReportRows();
  const finder = new RowFinder(rows);
  const template = new ReportTemplate(['n']);
  const records = Array.from({ length: 3_000 }, (_, at) => ({
    device: at % 7 === 0 ? `${'x'.repeat(1 + (at % 100))}${at}` : `d${at}`,
    seq: at,
    timeMs: at + 1,
    kind: Kind.report,
    payload: `{"n":${at}}`,
  }));
  const batch = makeBatch({ epoch: 1, offset: 1 }, records);
  const each = (visit: (cursor: RecordCursor, at: number) => void): void => {
    const cursor = new RecordCursor(batch);
    for (let at = 0; cursor.next(); at++) visit(cursor, at);
  };
  t.ok(finder.find(batch).every((row) => row === 0));
  each(({ deviceIdStart, payloadStart, payloadEnd, timeMs }) => {
    rows.open(template, batch, deviceIdStart, payloadStart, payloadEnd, timeMs);
  });
  const found = finder.find(batch).slice(0, records.length);
  each(({ timeMs }, at) => {
    const row = found[at]!;
    if (rows.doubles[rows.numbersStart(row)] !== at || rows.timeMs(row) !== timeMs) t.fail(`row of ${at}`);
  });
  rows.close(found[5]!);
  t.equal(finder.find(batch)[5], 0, 'a closed row is not found');
  t.notOk(rows.put(found[5]!, batch, 0, 0, 1e9), 'and takes nothing');
  rows.clear();
  t.ok(finder.find(batch).every((row) => row === 0));
  t.end();
});
