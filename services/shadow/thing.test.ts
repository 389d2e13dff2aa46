import { test } from 'tap';
import { CLASSIC } from './api.js';
import { RequestError } from './request-error.js';
import { MAX_NAMED_SHADOWS, Thing } from './thing.js';

const LIMITS = { documentBytes: 8_192, depth: 8 };

function plain(value: unknown): unknown {
  return value === undefined ? undefined : JSON.parse(JSON.stringify(value));
}

function telemetry(thing: Thing, payload: string | Buffer, effectiveMs: number, seq = 1, timeMs = effectiveMs): void {
  const batch = Buffer.concat([Buffer.from('before'), Buffer.from(payload), Buffer.from('after')]);
  thing.applyTelemetry(batch, 6, batch.length - 5, effectiveMs, timeMs, seq);
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

void test('a thing of which nothing was ever said is not known and has no shadow', (t) => {
  const thing = new Thing('press-1');
  t.notOk(thing.isKnown);
  t.equal(thing.view(CLASSIC), undefined);
  t.equal(thing.delta(), undefined);
  t.strictSame(thing.names(), []);
  t.strictSame(thing.entry(), { connected: false, type: null, site: null });
  t.notOk(thing.applyReport({}, 1, LIMITS));
  t.throws(() => thing.applyReport({ a: 'x'.repeat(9_000) }, 1, LIMITS));
  t.throws(() => thing.update('config', { version: 3 }, 1, LIMITS));
  t.notOk(thing.isKnown, 'nor after what was refused');
  thing.setPending(['c-1']);
  t.ok(thing.isKnown);
  t.equal(thing.view(CLASSIC), undefined, 'a command is no shadow');
  t.end();
});

void test('a thing that only sent telemetry or came online has an empty document of version 0', (t) => {
  const sender = new Thing('press-1');
  telemetry(sender, '{"t":80.5}', 2_000, 17, 1_900);
  t.strictSame(plain(sender.view(CLASSIC)), {
    state: {},
    metadata: {},
    version: 0,
    timestamp: 2_000,
    latest: { time: 1_900, seq: 17, data: { t: 80.5 } },
    connected: false,
  });
  const online = new Thing('press-2');
  online.applyPresence(true, 3_000, 's');
  t.strictSame(plain(online.view(CLASSIC)), { state: {}, metadata: {}, version: 0, timestamp: 3_000, connected: true });
  t.end();
});

void test('the newest telemetry is shown: by time, then by seq, whatever came last', (t) => {
  const thing = new Thing('press-1');
  const shown = (): unknown => (plain(thing.view(CLASSIC)) as { latest: { data: unknown } }).latest.data;
  telemetry(thing, '1', 1_000, 5);
  telemetry(thing, '2', 1_000, 4);
  t.equal(shown(), 1);
  telemetry(thing, '3', 1_000, 6);
  t.equal(shown(), 3);
  telemetry(thing, '4', 999, 7);
  t.equal(shown(), 3);
  telemetry(thing, '5', 1_001, 1);
  t.equal(shown(), 5);
  t.end();
});

void test('a batch may be reused once the thing was viewed', (t) => {
  const thing = new Thing('press-1');
  const batch = Buffer.from('{"a":"é€"}');
  thing.applyTelemetry(batch, 0, batch.length, 1, 1, 1);
  const before = JSON.stringify(thing.view(CLASSIC));
  batch.fill(0);
  t.equal(JSON.stringify(thing.view(CLASSIC)), before);
  t.match(before, '"data":{"a":"é€"}');
  t.end();
});

void test('telemetry that is no JSON is left out of the view', (t) => {
  for (const payload of [Buffer.from([0xff, 0, 1]), '', '{"a":', `${'['.repeat(30_000)}${']'.repeat(30_000)}`]) {
    const thing = new Thing('press-1');
    telemetry(thing, payload, 1_000, 3);
    t.strictSame((plain(thing.view(CLASSIC)) as { latest: unknown }).latest, { time: 1_000, seq: 3 });
  }
  t.end();
});

void test('revision rises with documents and pending commands, not with telemetry and presence', (t) => {
  const thing = new Thing('press-1');
  const rises = (work: () => unknown): boolean => {
    const before = thing.revision;
    work();
    return thing.revision > before;
  };
  t.ok(rises(() => thing.applyReport({ a: 1 }, 10, LIMITS)));
  t.notOk(rises(() => thing.applyReport({ a: 2 }, 9, LIMITS)));
  t.ok(rises(() => thing.update(CLASSIC, { desired: { a: 2 } }, 11, LIMITS)));
  t.ok(rises(() => thing.update('config', { desired: { a: 2 } }, 11, LIMITS)));
  t.ok(rises(() => thing.setPending(['c-1'])));
  t.notOk(rises(() => telemetry(thing, '1', 12)));
  t.notOk(rises(() => thing.applyPresence(true, 12, 's')));
  t.notOk(rises(() => refusal(() => thing.update(CLASSIC, { version: 9 }, 12, LIMITS))));
  t.ok(rises(() => thing.delete('config', 13)));
  t.end();
});

void test('delta of the classic shadow carries the version of the document', (t) => {
  const thing = new Thing('press-1');
  thing.update('config', { desired: { a: 1 } }, 1, LIMITS);
  t.equal(thing.delta(), undefined, 'named shadows are not sent');
  thing.update(CLASSIC, { desired: { a: 1, b: { c: 2 } } }, 1, LIMITS);
  t.strictSame(thing.delta(), { text: '{"a":1,"b":{"c":2}}', version: 1 });
  thing.applyReport({ a: 1 }, 2, LIMITS);
  t.strictSame(thing.delta(), { text: '{"b":{"c":2}}', version: 2 });
  thing.applyReport({ b: { c: 2 } }, 3, LIMITS);
  t.equal(thing.delta(), undefined);
  t.end();
});

void test('a deleted shadow is gone until something is accepted, and what belongs to the thing stays', (t) => {
  const thing = new Thing('press-1');
  thing.applyPresence(true, 900, 's');
  thing.applyReport({ a: 1 }, 1_000, LIMITS);
  telemetry(thing, '1', 1_000);
  thing.setPending(['c-1']);
  t.strictSame(thing.delete(CLASSIC, 2_000), { version: 1, timestamp: 2_000 });
  t.equal(thing.view(CLASSIC), undefined);
  telemetry(thing, '2', 2_001);
  thing.applyPresence(true, 2_001, 't');
  t.equal(thing.view(CLASSIC), undefined);
  t.match(
    refusal(() => thing.delete(CLASSIC, 3_000)),
    { status: 404, message: "No shadow exists with name: 'press-1'" },
  );
  thing.update(CLASSIC, { desired: { b: 1 } }, 3_000, LIMITS);
  t.match(plain(thing.view(CLASSIC)), {
    state: { desired: { b: 1 } },
    version: 2,
    latest: { data: 2 },
    connected: true,
  });
  t.strictSame(thing.pending, ['c-1']);
  t.end();
});

void test('a shadow that there is none of cannot be deleted', (t) => {
  const thing = new Thing('press-1');
  t.match(
    refusal(() => thing.delete(CLASSIC, 1)),
    { status: 404, message: "No shadow exists with name: 'press-1'" },
  );
  t.match(
    refusal(() => thing.delete('config', 1)),
    { status: 404, message: "No shadow exists with name: 'press-1~config'" },
  );
  telemetry(thing, '1', 1);
  t.strictSame(thing.delete(CLASSIC, 2), { version: 0, timestamp: 2 });
  t.end();
});

void test('named shadows are documents of their own, without telemetry and presence', (t) => {
  const thing = new Thing('press-1');
  telemetry(thing, '1', 1);
  thing.update('b', { desired: { x: 1 }, reported: { x: 1 } }, 5, LIMITS);
  thing.update('a', { desired: { y: 1 } }, 6, LIMITS);
  t.strictSame(thing.names(), ['a', 'b']);
  t.strictSame(plain(thing.view('b')), {
    state: { desired: { x: 1 }, reported: { x: 1 } },
    metadata: { desired: { x: { timestamp: 5 } }, reported: { x: { timestamp: 5 } } },
    version: 1,
    timestamp: 5,
  });
  thing.delete('b', 7);
  t.strictSame(thing.names(), ['a']);
  t.equal(thing.view('b'), undefined);
  t.equal(thing.update('b', { desired: { x: 2 } }, 8, LIMITS)['version'], 2);
  t.equal(thing.view('c'), undefined);
  t.end();
});

void test('a thing has at most 16 named shadows, and remembers the versions of as many deleted ones', (t) => {
  const thing = new Thing('press-1');
  for (let i = 0; i < MAX_NAMED_SHADOWS; i++) thing.update(`n${i}`, { desired: { a: i } }, i, LIMITS);
  const error = refusal(() => thing.update('other', { desired: { a: 1 } }, 20, LIMITS));
  t.match(error, { status: 400, message: "'press-1' has 16 named shadows, the most that are allowed" });
  thing.update('n3', { desired: { a: 9 } }, 21, LIMITS);
  t.equal(thing.view('other'), undefined);
  for (let i = 0; i < 100; i++) {
    thing.delete(i === 0 ? 'n0' : `m${i - 1}`, 30);
    t.equal(thing.update(`m${i}`, { desired: { a: 1 } }, 31, LIMITS)['version'], 1);
  }
  t.equal(thing.names().length, MAX_NAMED_SHADOWS);
  t.equal(thing.named?.size, 2 * MAX_NAMED_SHADOWS);
  thing.delete('m99', 40);
  t.equal(thing.update('m98', { desired: { a: 1 } }, 41, LIMITS)['version'], 2, 'the last ones go on counting');
  t.end();
});

void test('context and connection make the entry', (t) => {
  const thing = new Thing('press-1');
  thing.type = 'press';
  thing.site = 'hall 2';
  thing.applyPresence(true, 1, 's');
  t.strictSame(thing.entry(), { connected: true, type: 'press', site: 'hall 2' });
  t.end();
});
