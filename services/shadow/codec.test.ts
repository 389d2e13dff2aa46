import fc from 'fast-check';
import { test } from 'tap';
import { crc32 } from 'node:zlib';
import { HoldfastError } from '../../shared/errors.js';
import { anyPatch } from '../../test/support/shadow-json.js';
import { CLASSIC } from './api.js';
import { decodeThing, encodeThing } from './codec.js';
import type { JsonObject } from './json.js';
import { RequestError } from './request-error.js';
import { Thing } from './thing.js';

const LIMITS = { documentBytes: 600, depth: 8 };

/** One thing that can happen to a thing; times around each other, so that some are late. */
type Event =
  | { readonly kind: 'report'; readonly patch: JsonObject | null; readonly timeMs: number }
  | { readonly kind: 'update'; readonly name: string; readonly desired: JsonObject | null; readonly timeMs: number }
  | { readonly kind: 'delete'; readonly name: string; readonly timeMs: number }
  | { readonly kind: 'telemetry'; readonly payload: Uint8Array; readonly timeMs: number; readonly seq: number }
  | {
      readonly kind: 'presence';
      readonly online: boolean;
      readonly session: string | undefined;
      readonly timeMs: number;
    }
  | { readonly kind: 'pending'; readonly ids: readonly string[] }
  | { readonly kind: 'context'; readonly type: string | null; readonly site: string | null };

const timeMs = fc.oneof(fc.integer({ min: 1_000, max: 1_030 }), fc.constant(1_700_000_000_000.5));
const name = fc.constantFrom(CLASSIC, CLASSIC, 'config', 'a', 'b');
const patch = fc.option(anyPatch, { freq: 10 });
const payload = fc.oneof(
  fc.uint8Array({ maxLength: 300 }),
  fc.json().map((text) => new Uint8Array(Buffer.from(text))),
);
const text = fc.option(fc.string({ unit: 'binary', maxLength: 100 }));
const event: fc.Arbitrary<Event> = fc.oneof(
  { weight: 6, arbitrary: fc.record({ kind: fc.constant('report' as const), patch, timeMs }) },
  { weight: 4, arbitrary: fc.record({ kind: fc.constant('update' as const), name, desired: patch, timeMs }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('delete' as const), name, timeMs }) },
  {
    weight: 2,
    arbitrary: fc.record({ kind: fc.constant('telemetry' as const), payload, timeMs, seq: fc.maxSafeNat() }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant('presence' as const),
      online: fc.boolean(),
      session: fc.constantFrom('s', 't', undefined),
      timeMs,
    }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('pending' as const), ids: fc.array(fc.string()) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('context' as const), type: text, site: text }) },
);
const events = fc.array(event, { maxLength: 12 });

/** @returns what came of it, in one text */
function happen(thing: Thing, what: Event): string {
  try {
    switch (what.kind) {
      case 'report':
        return String(thing.applyReport(what.patch, what.timeMs, LIMITS));
      case 'update':
        return JSON.stringify(thing.update(what.name, { desired: what.desired }, what.timeMs, LIMITS));
      case 'delete':
        return JSON.stringify(thing.delete(what.name, what.timeMs));
      case 'telemetry': {
        const batch = Buffer.from(what.payload);
        thing.applyTelemetry(batch, 0, batch.length, what.timeMs, what.timeMs + 1, what.seq);
        return '';
      }
      case 'presence':
        thing.applyPresence(what.online, what.timeMs, what.session);
        return '';
      case 'pending':
        thing.setPending(what.ids);
        return '';
      case 'context':
        thing.type = what.type;
        thing.site = what.site;
        return '';
    }
  } catch (error) {
    if (error instanceof RequestError) return `${error.status} ${error.message}`;
    throw error;
  }
}

/** All that can be seen of a thing. */
function seen(thing: Thing): string {
  const names = thing.names();
  return JSON.stringify({
    id: thing.id,
    isKnown: thing.isKnown,
    entry: thing.entry(),
    pending: thing.pending,
    delta: thing.delta() ?? null,
    classic: thing.view(CLASSIC) ?? null,
    names,
    named: names.map((each) => thing.view(each)),
  });
}

function made(happened: readonly Event[]): Thing {
  const thing = new Thing('press-1');
  for (const each of happened) happen(thing, each);
  return thing;
}

void test('a thing comes back from its value as it was, and goes on as it would have', (t) => {
  fc.assert(
    fc.property(events, events, (before, after) => {
      const thing = made(before);
      const value = encodeThing(thing);
      const back = decodeThing('press-1', Buffer.from(value));
      if (seen(back) !== seen(thing)) return false;
      if (!encodeThing(back).equals(value)) return false;
      for (const each of after) if (happen(back, each) !== happen(thing, each)) return false;
      return seen(back) === seen(thing) && encodeThing(back).equals(encodeThing(thing));
    }),
    { numRuns: 3_000 },
  );
  t.end();
});

void test('values stay as they are while others are encoded, however large', (t) => {
  const values: (readonly [Thing, Buffer])[] = [];
  for (let i = 0; i < 2_000; i++) {
    const thing = new Thing(`press-${i}`);
    const batch = Buffer.from(JSON.stringify('x'.repeat(i % 100 === 0 ? 200_000 : i)));
    thing.applyTelemetry(batch, 0, batch.length, i, i, i);
    thing.applyReport({ a: i, b: 'é€'.repeat(i % 100), c: { d: [i] } }, i, LIMITS);
    values.push([thing, encodeThing(thing)]);
  }
  t.ok(values.every(([thing, value]) => seen(decodeThing(thing.id, value)) === seen(thing)));
  t.end();
});

function isRefused(value: Buffer): boolean {
  try {
    decodeThing('press-1', value);
  } catch (error) {
    if (error instanceof HoldfastError && error.code === 'store' && !error.retry) return true;
    throw error;
  }
  return false;
}

void test('a value with a flipped bit, a missing or a surplus byte is refused', (t) => {
  const happened: Event[] = [
    { kind: 'report', patch: { a: 1.5, b: { c: 'x', d: true }, e: [1, 'é€'] }, timeMs: 1_000 },
    { kind: 'report', patch: { b: { d: null } }, timeMs: 1_001 },
    { kind: 'update', name: 'config', desired: { a: 1 }, timeMs: 1_002 },
    { kind: 'telemetry', payload: Buffer.from('{}'), timeMs: 1_003, seq: 1 },
    { kind: 'presence', online: true, session: 's', timeMs: 1_004 },
    { kind: 'context', type: 'press', site: 'hall 2' },
    { kind: 'pending', ids: ['c-1'] },
  ];
  const value = Buffer.from(encodeThing(made(happened)));
  for (let at = 0; at < value.length; at++) {
    for (let bit = 0; bit < 8; bit++) {
      const damaged = Buffer.from(value);
      damaged[at]! ^= 1 << bit;
      if (!isRefused(damaged)) t.fail(`bit ${bit} of byte ${at}`);
    }
    if (!isRefused(value.subarray(0, at))) t.fail(`only ${at} bytes`);
  }
  t.ok(isRefused(Buffer.concat([value, Buffer.alloc(1)])));
  t.notOk(isRefused(value));
  t.throws(() => decodeThing('press-1', Buffer.from('{}')), /The stored value of thing press-1 .*Restore the store/);
  t.end();
});

/** A value whose checksum is right, whatever is in it. */
function sealed(value: Buffer): Buffer {
  const copy = Buffer.from(value);
  copy.writeUInt32LE(0, 4);
  copy.writeUInt32LE(crc32(copy), 4);
  return copy;
}

void test('a value that is damaged before its checksum was made is refused or read, and never crashes', (t) => {
  let refused = 0;
  const damage = fc.array(fc.tuple(fc.nat(), fc.integer({ min: 0, max: 255 })), { minLength: 1, maxLength: 4 });
  fc.assert(
    fc.property(events, damage, fc.nat(), (happened, changes, cut) => {
      let value: Buffer = Buffer.from(encodeThing(made(happened)));
      for (const [at, byte] of changes) value[8 + (at % (value.length - 8))] = byte;
      if (cut % 3 === 0) value = value.subarray(0, 8 + (cut % (value.length - 8)));
      value = sealed(value);
      if (isRefused(value)) refused++;
      else {
        const thing = decodeThing('press-1', value);
        seen(thing);
        happen(thing, { kind: 'report', patch: { a: 1, b: { c: 2 } }, timeMs: 1_010 });
        encodeThing(thing);
      }
      return true;
    }),
    { numRuns: 5_000 },
  );
  t.ok(refused > 1_000, `${refused} were refused`);
  t.end();
});

void test('bytes that were never a value are refused', (t) => {
  const magic = Buffer.from('HFT1\0\0\0\0');
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
      if (!isRefused(Buffer.from(bytes))) return false;
      isRefused(sealed(Buffer.concat([magic, bytes])));
      return true;
    }),
    { numRuns: 2_000 },
  );
  t.end();
});
