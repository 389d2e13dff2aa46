/** Shadow killed with -9 under load, again and again: its documents are the fold of what it was told, as if nobody had killed it. */
import { rm } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { test, type Test } from 'tap';
import { ShadowHistory } from './faults/history/shadow-fold.js';
import { randomFrom } from './faults/random.js';
import { plantBug, type Plant } from './support/planted.js';
import { until } from './support/processes.js';
import type { ShadowDocument } from './support/shadow-client.js';
import { ShadowLoad } from './support/shadow-load.js';
import { ShadowPipeline, untilApplied, type ShadowPipelineOptions } from './support/shadow-pipeline.js';

const THING = 'press-1';
const SEED = 20_261_122;
const KILLS = 100;
/** A bug that is planted is met by fewer. */
const PLANTED_KILLS = 12;
const MAX_PAUSE_MS = 60;

/** Kills shadow with -9 at random moments of its work, each time starting it again. */
async function killShadow({ shadow }: ShadowPipeline, load: ShadowLoad, kills: number): Promise<void> {
  const random = randomFrom(SEED);
  for (let kill = 1; kill <= kills; kill++) {
    // Now and then it dies again before it was at work.
    if (random() < 0.9) {
      await shadow.untilReady();
      const { updates } = load;
      await until(() => load.updates > updates || !shadow.running);
    }
    await sleep(random() * MAX_PAUSE_MS);
    await shadow.end('SIGKILL');
    shadow.spawn();
  }
  await shadow.untilReady();
}

/** @returns what differs in the end from the documents that must be there, and how much there was to do */
async function killUnderLoad(
  t: Test,
  kills: number,
  options: ShadowPipelineOptions = {},
): Promise<{ readonly findings: readonly string[]; readonly load: ShadowLoad }> {
  // Records are written as often as can be: a kill that finds nothing under way shows nothing.
  const pipeline = await ShadowPipeline.start(t, { environment: { SHADOW_FLUSH: '20ms' }, ...options });
  const load = new ShadowLoad({ client: pipeline.client, edgeUrl: pipeline.edge.url, things: 8 });
  t.teardown(() => load.close());
  await load.during(killShadow(pipeline, load, kills));
  await untilApplied(pipeline);
  // Once more, so that what is compared is what is in the store.
  await pipeline.shadow.end('SIGKILL');
  await pipeline.shadow.start();
  return { findings: await load.check(), load };
}

void test('documents after 100 kill -9 of shadow under load equal those of a run without kills', async (t) => {
  const { findings, load } = await killUnderLoad(t, KILLS);
  t.strictSame(findings, []);
  t.pass(`${load.updates} updates and ${load.reports} reports`);
});

void test('the checker takes the right document, and finds each thing that is wrong with another', (t) => {
  const history = new ShadowHistory();
  history.reported(THING, { n: 1, gone: 1, deep: { a: 1, b: 1 } }, 1_000);
  history.desired(THING, { n: 2, deep: { a: 1, b: 2 }, only: true }, 5_000);
  history.reported(THING, { n: 2, gone: null, deep: { c: 3 } }, 1_001);
  history.sent(THING, 7, 1_002, { n: 7 });
  const right: ShadowDocument = {
    state: {
      desired: { n: 2, deep: { a: 1, b: 2 }, only: true },
      reported: { n: 2, deep: { a: 1, b: 1, c: 3 } },
      delta: { deep: { b: 2 }, only: true },
    },
    metadata: {
      desired: {
        n: { timestamp: 5_000 },
        deep: { a: { timestamp: 5_000 }, b: { timestamp: 5_000 } },
        only: { timestamp: 5_000 },
      },
      reported: {
        n: { timestamp: 1_001 },
        deep: { a: { timestamp: 1_000 }, b: { timestamp: 1_000 }, c: { timestamp: 1_001 } },
      },
    },
    version: 3,
    timestamp: 6_000,
    latest: { time: 1_002, seq: 7, data: { n: 7 } },
    connected: true,
  };
  t.strictSame(history.check(THING, right), []);
  const { state, metadata } = right;
  const wrong: readonly (readonly [document: ShadowDocument, says: RegExp])[] = [
    [{ ...right, version: 4 }, /version is 4 and not 3/],
    [{ ...right, latest: { time: 1_001, seq: 6, data: { n: 6 } } }, /latest is/],
    [{ ...right, state: { ...state, reported: { ...state.reported, n: 1 } } }, /state is/],
    [{ ...right, state: { ...state, reported: { ...state.reported, gone: 1 } } }, /state is/],
    [{ ...right, state: { desired: state.desired!, reported: state.reported! } }, /state is/],
    [{ ...right, state: { ...state, delta: { ...state.delta, n: 2 } } }, /state is/],
    [
      { ...right, metadata: { ...metadata, reported: { ...metadata.reported, n: { timestamp: 1_000 } } } },
      /metadata is/,
    ],
  ];
  for (const [document, says] of wrong) {
    const [finding, ...others] = history.check(THING, document);
    t.match(finding, says);
    t.strictSame(others, []);
  }
  t.equal(history.check(THING, undefined).length, 4);
  t.end();
});

const WRITE = { file: 'services/shadow/flush.js', original: 'await this.options.store.write(change);' };
const WAIT = 'await new Promise((resolve) => setTimeout(resolve, 50));';
const WITHOUT_POSITION = 'await this.options.store.write({ ...change, applied: undefined });';
const POSITION = 'await this.options.store.write({ applied: change.applied, things: [], commands: [] });';

const planted: readonly (readonly [what: string, plant: Plant])[] = [
  ['a position that is written before what it stands for', { ...WRITE, planted: POSITION + WAIT + WITHOUT_POSITION }],
  ['records that are applied twice', { ...WRITE, planted: WITHOUT_POSITION + WAIT + POSITION }],
  [
    'an update that is answered before it is written',
    {
      file: 'services/shadow/things.js',
      original: 'await this.#flush.written();',
      planted: 'this.#flush.soon();',
    },
  ],
];

for (const [what, plant] of planted) {
  void test(`the checker finds ${what}`, async (t) => {
    const root = await plantBug(plant);
    t.teardown(() => rm(root, { recursive: true, force: true }));
    const { findings } = await killUnderLoad(t, PLANTED_KILLS, { root });
    t.not(findings.length, 0, 'and says so');
  });
}
