import { setImmediate as nextTurn } from 'node:timers/promises';
import { pino } from 'pino';
import { test, type Test } from 'tap';
import { Kind } from '../../shared/batch.js';
import { createRegistry, type Registry } from '../../shared/metrics.js';
import type { Position } from '../../shared/position.js';
import { makeBatch, MemorySource, type TestRecord } from '../../test/support/deliveries.js';
import { until } from '../../test/support/processes.js';
import { WatchedStore } from '../../test/support/watched-store.js';
import { Apply } from './apply.js';
import { DownlinkMetrics } from './downlink-metrics.js';
import type { JsonObject } from './json.js';
import { LmdbStore } from './lmdb-store.js';
import { Results } from './results.js';
import type { Thing } from './thing.js';
import { Things } from './things.js';
import { testDirectory } from '../../test/support/directory.js';

const QUEUE = '11111111-2222-3333-4444-555555555555';
const LIMITS = { documentBytes: 8_192, depth: 8 };
const log = pino({ level: 'silent' });

/** Things over a real store, and a source that delivers what the test pushes. */
class Setup {
  readonly source = new MemorySource(QUEUE);
  readonly registry: Registry = createRegistry('shadow');
  readonly failures: unknown[] = [];
  readonly things: Things;
  readonly apply: Apply;
  #offset = 0;

  private constructor(
    readonly store: WatchedStore,
    flushMs: number,
    hotThings: number,
  ) {
    const onFailure = (error: unknown): void => void this.failures.push(error);
    const onApplied = (queueId: string, through: Position): void => this.source.ack(queueId, through);
    const { registry, source } = this;
    this.things = new Things({ store, hotThings, flushMs, registry, log, onApplied, onFailure });
    const metrics = new DownlinkMetrics(registry, { devices: () => 0, waiting: () => 0 });
    const results = new Results(60_000, metrics);
    this.apply = new Apply({ source, things: this.things, results, limits: LIMITS, log, onFailure });
  }

  static async start(t: Test, path: string, { flushMs = 5, hotThings = 10_000, unsafeMs = 0 } = {}): Promise<Setup> {
    const store = new WatchedStore(new LmdbStore({ path, mapBytes: 2 ** 30, diskFloorBytes: 0 }));
    store.unsafeMs = unsafeMs;
    await store.open();
    const setup = new Setup(store, flushMs, hotThings);
    await setup.things.resume(QUEUE);
    await setup.things.start();
    await setup.apply.start();
    t.teardown(() => setup.stop());
    return setup;
  }

  async stop(): Promise<void> {
    await this.apply.stop();
    this.source.close();
    await this.things.stop();
    await this.store.close();
  }

  /** Delivers records as one batch. @returns its offset */
  push(...records: TestRecord[]): number {
    const position = { epoch: 1, offset: ++this.#offset };
    this.source.push(makeBatch(position, records));
    return this.#offset;
  }

  /** Delivers reports of a device, a record each, and waits until they are acked. */
  async report(device: string, ...reports: JsonObject[]): Promise<void> {
    const records = reports.map((report, index) => reportOf(device, 1_000 + this.#offset * 100 + index, report));
    await this.source.untilAcked(this.push(...records));
  }

  async view(device: string, name = ''): Promise<JsonObject | undefined> {
    const [thing] = await this.things.get([device]);
    return thing!.view(name);
  }

  set(device: string, desired: JsonObject): Promise<JsonObject> {
    return this.things.change([device], [], ([thing]) => thing!.update('', { desired }, 5_000, LIMITS));
  }

  async rejected(reason: string): Promise<number> {
    const text = await this.registry.getSingleMetricAsString('holdfast_rejected_total');
    return Number(new RegExp(`reason="${reason}"[^}]*} (\\d+)`).exec(text)?.[1] ?? 0);
  }
}

function reportOf(device: string, timeMs: number, report: unknown): TestRecord {
  return { device, seq: timeMs, timeMs, kind: Kind.report, payload: JSON.stringify(report) };
}

/** A group that is large: its encoding takes several turns of the event loop. */
function crowd(size: number, timeMs: number): TestRecord[] {
  return Array.from({ length: size }, (_, index) => reportOf(`d${index}`, timeMs, { n: index }));
}

void test('a thing that sends ten times in a group is written once, and the router hears when it is written', async (t) => {
  const setup = await Setup.start(t, testDirectory(t), { flushMs: 20 });
  setup.store.hold();
  const offset = setup.push(...Array.from({ length: 10 }, (_, n) => reportOf('press-1', 1_000 + n, { n })));
  await until(() => setup.store.tried.length > 0);
  t.strictSame(setup.source.acked, [], 'nothing is acked that is not written');
  setup.store.release();
  await setup.source.untilAcked(offset);
  t.strictSame(
    setup.store.written.map(({ things }) => things.map(({ thing }) => thing)),
    [['press-1']],
  );
  t.match(await setup.view('press-1'), { state: { reported: { n: 9 } }, version: 10 });
});

void test('records that never end do not keep from being written what they have changed', async (t) => {
  const setup = await Setup.start(t, testDirectory(t));
  let pushed = 0;
  // There is always one more to be applied than was asked for.
  const feed = (): void => {
    while (pushed < setup.store.tried.length + 1_000 && setup.store.written.length < 3) {
      setup.push(reportOf('press-1', 1_000 + pushed++, { n: pushed }));
    }
  };
  await until(() => {
    feed();
    return setup.store.written.length >= 3;
  });
  await setup.source.untilAcked(pushed);
  t.match(await setup.view('press-1'), { state: { reported: { n: pushed } }, version: pushed });
});

void test('what is written is there after a restart, and so is the position', async (t) => {
  const path = testDirectory(t);
  const first = await Setup.start(t, path);
  await first.report('press-1', { valve: 'open' }, { speed: 3 });
  await first.set('press-1', { speed: 4 });
  const view = await first.view('press-1');
  await first.stop();
  const second = await Setup.start(t, path);
  t.strictSame(await second.things.resume(QUEUE), { epoch: 1, offset: 1 });
  t.strictSame(await second.view('press-1'), view);
  t.equal((view as { version: number }).version, 3);
});

void test('a batch that comes twice is applied once', async (t) => {
  const setup = await Setup.start(t, testDirectory(t));
  const batch = makeBatch({ epoch: 1, offset: 1 }, [reportOf('press-1', 1_000, { n: 1 })]);
  setup.source.push(batch);
  setup.source.push(Buffer.from(batch));
  setup.source.push(makeBatch({ epoch: 1, offset: 2 }, [reportOf('press-1', 1_001, { n: 2 })]));
  await setup.source.untilAcked(2);
  t.match(await setup.view('press-1'), { version: 2 });
});

void test('while the store is away records wait and changes are refused; when it is back nothing is lost', async (t) => {
  const setup = await Setup.start(t, testDirectory(t));
  await setup.report('press-1', { n: 1 });
  setup.store.hold();
  const offset = setup.push(reportOf('press-1', 2_000, { n: 2 }));
  const caught = setup.set('press-1', { n: 5 });
  await until(() => setup.store.tried.length > 1);
  setup.store.isAway = true;
  setup.store.release();
  await t.rejects(caught, { code: 'store', retry: true }, 'it is not known to be written');
  await t.rejects(setup.set('press-1', { n: 6 }), { code: 'store', retry: true });
  const cold = setup.push(reportOf('never-seen', 2_001, { n: 3 }));
  await until(() => setup.store.tried.length > 3);
  t.equal(setup.source.acked.at(-1)?.offset, 1);
  setup.store.isAway = false;
  await setup.source.untilAcked(offset);
  await setup.source.untilAcked(cold);
  t.match(await setup.view('press-1'), { state: { desired: { n: 5 }, reported: { n: 2 } }, version: 3 });
  t.match(await setup.view('never-seen'), { state: { reported: { n: 3 } }, version: 1 });
  t.strictSame(setup.failures, []);
});

void test('a change that throws changes nothing and writes nothing', async (t) => {
  const setup = await Setup.start(t, testDirectory(t));
  const failing = setup.things.change(['press-1'], [], () => {
    throw new Error('no');
  });
  await t.rejects(failing, { message: 'no' });
  await t.rejects(
    setup.things.change(['press-1'], [], ([thing]) => thing!.update('', { desired: {}, version: 7 }, 1, LIMITS)),
    { message: 'Version conflict' },
  );
  await setup.report('other', { n: 1 });
  t.strictSame(
    setup.store.written.flatMap(({ things }) => things.map(({ thing }) => thing)),
    ['other'],
  );
});

void test('of two updates for the same version one gets a conflict', async (t) => {
  const setup = await Setup.start(t, testDirectory(t));
  await setup.set('press-1', { speed: 1 });
  const update = (speed: number): Promise<JsonObject> =>
    setup.things.change(['press-1'], [], ([thing]) => thing!.update('', { desired: { speed }, version: 1 }, 1, LIMITS));
  const outcomes = await Promise.allSettled([update(2), update(3)]);
  t.same(outcomes.map(({ status }) => status).sort(), ['fulfilled', 'rejected']);
});

void test('a step that comes while a large group is encoded is not part of it', async (t) => {
  const setup = await Setup.start(t, testDirectory(t), { flushMs: 10_000 });
  setup.push(...crowd(5_000, 1_000));
  await until(async () => (await setup.view('d4999')) !== undefined);
  const first = setup.set('d0', { a: 1 });
  // Looked at in every turn: the encoding takes only some of them.
  while (!setup.things.isEncoding) await nextTurn();
  // d4999 is encoded last: taken now, this change would be in the write with the position before it.
  const second = setup.set('d4999', { a: 2 });
  await Promise.all([first, second]);
  const writes = setup.store.written.map(({ things }) => things.map(({ thing }) => thing));
  t.equal(writes.length, 2);
  t.strictSame(writes[1], ['d4999']);
  const values = setup.store.written.map(({ things }) => things.find(({ thing }) => thing === 'd4999')!.value);
  t.not(values[0]!.equals(values[1]!), 'the first write does not have it');
});

void test('a listener hears of documents that have changed, once a write, when they are durable', async (t) => {
  const setup = await Setup.start(t, testDirectory(t));
  const heard: string[] = [];
  setup.things.onWritten((thing: Thing) => heard.push(`${thing.id} ${JSON.stringify(thing.delta()?.version)}`));
  await setup.report('press-1', { n: 1 }, { n: 2 }, { n: 3 });
  t.strictSame(heard, ['press-1 undefined']);
  const telemetry = setup.push({ device: 'press-1', seq: 9, timeMs: 9_000, payload: '{}' });
  await setup.source.untilAcked(telemetry);
  t.equal(heard.length, 1, 'telemetry changes no document');
  await setup.set('press-1', { n: 4 });
  t.strictSame(heard.slice(1), ['press-1 4']);
  setup.store.hold();
  const one = setup.set('press-1', { n: 5 });
  await until(() => setup.store.tried.length > setup.store.written.length);
  const two = setup.set('press-1', { n: 6 });
  setup.store.release();
  await Promise.all([one, two]);
  t.strictSame(heard.slice(2), ['press-1 6'], 'what is not durable yet is not told');
});

void test('records are acked only when the store cannot lose them any more', async (t) => {
  const setup = await Setup.start(t, testDirectory(t), { unsafeMs: 300 });
  const offset = setup.push(reportOf('press-1', 1_000, { n: 1 }));
  await until(() => setup.store.written.length > 0);
  t.strictSame(setup.source.acked, []);
  await setup.source.untilAcked(offset);
  t.pass();
});

void test('records that cannot be applied change nothing, are counted, and their neighbours are applied', async (t) => {
  const setup = await Setup.start(t, testDirectory(t));
  const offset = setup.push(
    reportOf('press-1', 1_000, { n: 1 }),
    reportOf('press-1', 1_001, [1]),
    { ...reportOf('press-1', 1_002, {}), payload: Buffer.from([0xff, 0xfe]) },
    reportOf('press-1', 1_003, { big: 'x'.repeat(9_000) }),
    reportOf('press-1', 1_004, { list: [1, null] }),
    reportOf('press-1', 900, { n: 0 }),
    { ...reportOf('press-1', 1_005, { status: 'SUCCEEDED' }), kind: Kind.result },
    {
      ...reportOf('press-1', 1_006, { id: '01a1fdec-ebdd-77db-ae17-beac7fc3fab7', status: 'SUCCEEDED' }),
      kind: Kind.result,
    },
    reportOf('press-1', 1_007, { n: 2 }),
  );
  await setup.source.untilAcked(offset);
  t.match(await setup.view('press-1'), { state: { reported: { n: 2 } }, version: 2 });
  for (const [reason, count] of [
    ['bad_report', 3],
    ['too_large', 1],
    ['older', 1],
    ['bad_result', 1],
    ['unknown_command', 1],
  ] as const) {
    t.equal(await setup.rejected(reason), count, reason);
  }
});

void test('a clock that runs ahead does not block what comes later', async (t) => {
  const setup = await Setup.start(t, testDirectory(t));
  const ahead = { ...reportOf('press-1', 4_102_444_800_000, { n: 1 }), receivedMs: 1_000 };
  await setup.source.untilAcked(setup.push(ahead));
  await setup.source.untilAcked(setup.push(reportOf('press-1', 2_000, { n: 2 })));
  t.match(await setup.view('press-1'), { state: { reported: { n: 2 } } });
});

void test('more things than fit in memory come and go, and none is lost', async (t) => {
  const setup = await Setup.start(t, testDirectory(t), { hotThings: 1_000 });
  for (let round = 1; round <= 3; round++) {
    for (let from = 0; from < 4_000; from += 500) {
      const records = Array.from({ length: 500 }, (_, index) => reportOf(`d${from + index}`, round, { round }));
      await setup.source.untilAcked(setup.push(...records));
    }
  }
  for (const id of ['d0', 'd1999', 'd3999'])
    t.match(await setup.view(id), { state: { reported: { round: 3 } }, version: 3 });
  t.strictSame(setup.failures, []);
});

void test('a router with another queue ends shadow, which then starts with that one', async (t) => {
  const setup = await Setup.start(t, testDirectory(t));
  await t.rejects(setup.things.resume('99999999-2222-3333-4444-555555555555'), { code: 'store', retry: true });
  t.equal(setup.failures.length, 1);
});
