/** A checker that finds nothing proves nothing: bugs planted in the services, and the rule that each of them breaks. */
import { rm } from 'node:fs/promises';
import t from 'tap';
import { drained, runCrashes, type CrashRun } from '../support/crash-run.js';
import { Pipeline } from '../support/pipeline.js';
import { plantBug, type Plant } from '../support/planted.js';
import { TestPostgres } from '../support/postgres.js';
import { query } from '../support/storage.js';
import { Fleet } from './fleet.js';
import type { Findings, Rule } from './history/findings.js';
import { PositionWatch } from './history/positions.js';

const SEED = 20_261_121;
const KEEP_ALL = { ROUTER_RETAIN: '1GiB' };
const BURST_RECORDS = 4_000;
/** Sending goes on for a while after the last kill. */
const RECORDS = 20_000;

/** Acks that come late are no bug: a kill then finds records that are stored and not acked, which come again. */
const LATE_ACKS: Plant = {
  file: 'services/edge/ingest.js',
  original: 'session.settle(seq, bytes);',
  planted: 'setTimeout(() => session.settle(seq, bytes), 100);',
};
/** The frame waits, not its making: else each ack would name all that was stored while it waited, and none would be late. */
const LATE_ROUTER_ACKS: Plant = {
  file: 'services/router/intake.js',
  original: 'this.#send(session, LinkType.ack);',
  planted: `const stored = this.#stored.get(session.queueId) ?? START;
        const frame = encodeStanding(LinkType.ack, { stored, creditBytes: this.#creditBytes() });
        setTimeout(() => this.#replies.push([session.identity, frame]), 200);`,
};
/** PUB that drops is no bug either: consumers fetch what they missed. */
const DROPPED_PUBLICATIONS: Plant = {
  file: 'services/router/publish.js',
  original: 'await socket.send([BATCH_TOPIC,',
  planted: 'if (readBatchHeader(batch).position.offset % 5 !== 0) await socket.send([BATCH_TOPIC,',
};

interface Case {
  readonly bug: string;
  readonly plants: readonly Plant[];
  /** Which rule finds it; undefined: there is no bug, and nothing must be found. */
  readonly rule: Rule | undefined;
  /** Kills while it runs; absent: a burst, and none. */
  readonly kills?: CrashRun['kills'];
  /** The table has no key that hides what comes twice. */
  readonly isWithoutKey?: boolean;
  /** No device has to send again. */
  readonly isOnce?: boolean;
}

const CASES: readonly Case[] = [
  {
    bug: 'an ack before the commit',
    plants: [
      {
        file: 'services/edge/ingest.js',
        original: 'await this.queue.append(group.full.map((builder) => builder.build()));',
        planted: `for (const { session, seq } of group.shares) session.settle(seq, 0);
            await new Promise((resolve) => setTimeout(resolve, 200));
            await this.queue.append(group.full.map((builder) => builder.build()));`,
      },
    ],
    rule: 'lost',
    kills: { edge: 2 },
  },
  {
    bug: 'a release before the router has acked',
    plants: [
      {
        file: 'services/edge/forward.js',
        original: 'await this.#socket.send([encodeDataHeader(previous), batch]);',
        planted: 'this.thread.release(position); await this.#socket.send([encodeDataHeader(previous), batch]);',
      },
      LATE_ROUTER_ACKS,
    ],
    rule: 'released',
    kills: { router: 2 },
  },
  {
    bug: 'no dedupe in the table',
    plants: [LATE_ACKS],
    rule: 'doubled',
    kills: { edge: 2 },
    isWithoutKey: true,
  },
  {
    bug: 'no dedupe in the router',
    plants: [
      LATE_ROUTER_ACKS,
      {
        file: 'services/router/intake.js',
        original: 'this.#stored = queue.positions(SOURCE_PREFIX);',
        planted: 'this.#stored = new Map();',
      },
    ],
    rule: 'doubled',
    kills: { router: 3 },
    isOnce: true,
  },
  {
    bug: 'a position of the router outside the transaction of its batches',
    plants: [
      {
        file: 'services/router/intake.js',
        original: 'await this.queue.append(batches, positions);',
        planted: `for (const [name, position] of positions) this.queue.setPosition(name, position);
            await new Promise((resolve) => setTimeout(resolve, 400));
            await this.queue.append(batches);`,
      },
    ],
    rule: 'lost',
    kills: { router: 3 },
  },
  {
    bug: 'a position of storage outside the transaction of its rows',
    plants: [
      {
        file: 'services/storage/writer.js',
        original: 'attempt.inDoubt = false;',
        planted: `await run(session, 'commit');
        await new Promise((resolve) => setTimeout(resolve, 200));
        await run(session, 'begin');
        attempt.inDoubt = false;`,
      },
    ],
    rule: 'lost',
    kills: { storage: 3 },
  },
  {
    bug: 'a gap that a consumer passes over',
    plants: [
      DROPPED_PUBLICATIONS,
      {
        file: 'shared/consumer.js',
        original: 'fits && follows(position, this.#after)',
        planted: 'fits',
      },
      { file: 'shared/consumer.js', original: '!fits || !follows(position, this.#after)', planted: '!fits' },
    ],
    rule: 'lost',
    kills: { storage: 1 },
  },
  { bug: 'publications that are dropped, and no bug', plants: [DROPPED_PUBLICATIONS], rule: undefined },
  {
    bug: 'a cursor ahead of the commit',
    plants: [
      {
        file: 'services/storage/storage.js',
        original: 'if (!(await this.#writer.store(merge)))',
        planted: `this.#ack(merge);
            await new Promise((resolve) => setTimeout(resolve, 200));
            if (!(await this.#writer.store(merge)))`,
      },
    ],
    rule: 'cursor',
  },
  {
    bug: 'the record that does not fit a batch any more',
    plants: [
      {
        file: 'services/edge/ingest.js',
        original: 'this.#builder.add(kind, id, seq, timeMs, receivedMs, source, start, end);\n        }',
        planted: '}',
      },
    ],
    rule: 'lost',
  },
  {
    bug: 'batches that are sent again in another order',
    plants: [
      {
        file: 'services/router/intake.js',
        original: 'const batches = group.map(({ batch }) => batch);',
        planted: 'const batches = group.map(({ batch }) => batch).reverse();',
      },
    ],
    rule: 'disordered',
    kills: { router: 1 },
  },
  {
    bug: 'a payload that belongs to another record',
    plants: [
      {
        file: 'services/edge/ingest.js',
        original: 'this.#write(kind, session.idBytes, seq, timeMs, receivedMs, source, start, end);',
        planted: `if (seq === 100) [source, start, end] = [Buffer.from('{"n":99}'), 0, 8];
        this.#write(kind, session.idBytes, seq, timeMs, receivedMs, source, start, end);`,
      },
    ],
    rule: 'unsent',
  },
];

const postgres = await TestPostgres.start();

async function burst(pipeline: Pipeline): Promise<Awaited<ReturnType<typeof runCrashes>>> {
  const fleet = new Fleet(pipeline.edgeUrl, 10, { prefix: 'burst' });
  const watch = await PositionWatch.start(pipeline.edgeQueue, pipeline.routerQueue, pipeline.databaseUrl);
  fleet.send(BURST_RECORDS);
  await fleet.flushed();
  await fleet.close();
  await drained(pipeline);
  await watch.stop();
  return { history: fleet.history, positions: watch.samples };
}

async function findingsOf({ plants, kills, isWithoutKey, isOnce = false }: Case, index: number): Promise<Findings> {
  const root = await plantBug(...plants);
  const databaseUrl = await postgres.createDatabase(`planted_${index}`);
  const pipeline = await Pipeline.start({ environment: KEEP_ALL, root, databaseUrl });
  try {
    if (isWithoutKey === true) await query(databaseUrl, 'alter table telemetry drop constraint telemetry_pkey');
    // The death of a service that is only starting provokes nothing.
    const run = { devices: 10, records: RECORDS, seed: SEED, isAtWork: true };
    const { history, positions } =
      kills === undefined ? await burst(pipeline) : await runCrashes(pipeline, { ...run, kills });
    const { routerQueue } = pipeline;
    const routerRules = { holdsAll: true, isOnce };
    const findings = await history.check({ databaseUrl, routerQueue, routerRules, positions });
    history.close();
    return findings;
  } finally {
    await pipeline.stop();
    await rm(root, { recursive: true, force: true });
  }
}

for (const [index, each] of CASES.entries()) {
  await t.test(`the checker finds ${each.bug}`, async (t) => {
    const findings = await findingsOf(each, index);
    if (each.rule === undefined) t.same(findings.lines, []);
    else
      t.ok(findings.broken.includes(each.rule), `${each.rule} is broken: ${findings.lines.join('; ').slice(0, 300)}`);
  });
}
await postgres.stop();
