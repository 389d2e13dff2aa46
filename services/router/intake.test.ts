import { randomBytes, randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { test } from 'tap';
import { makeBatch, makeStampedBatch, readAll, seqsOf } from '../../test/support/batches.js';
import { FakeEdge } from '../../test/support/fake-edge.js';
import { until } from '../../test/support/processes.js';
import { TestConsumer, TestRouter } from '../../test/support/router.js';
import { encodeDataHeader } from '../../shared/links.js';
import { stampBatch } from '../../shared/batch.js';
import { START, type Position } from '../../shared/position.js';
import { QueueReader } from '../../shared/queue/reader.js';
import { visitQueue } from '../../shared/queue/visit.js';

const EPOCH = 1_700_000_000_000;

function at(offset: number, epoch = EPOCH): Position {
  return { epoch, offset };
}

/** Every seq in the router's queue, in order. */
async function storedSeqs(path: string): Promise<number[]> {
  const reader = await visitQueue(path);
  const seqs = readAll(reader).flatMap(seqsOf);
  await reader.close();
  return seqs;
}

void test('a batch is stored once: one that comes again is acked again, not stored again', async (t) => {
  const router = await TestRouter.start(t);
  const edge = new FakeEdge(router.intake);
  t.teardown(() => edge.close());
  await edge.hello();
  t.match(await edge.reply(), { type: 'welcome', stored: START });
  await edge.data(at(1), 1);
  t.match(await edge.reply(), { type: 'ack', stored: at(1) });
  for (let again = 0; again < 3; again++) {
    await edge.data(at(1), 1);
    t.match(await edge.reply(), { type: 'ack', stored: at(1) });
  }
  await edge.data(at(2), 2);
  t.match(await edge.reply(), { type: 'ack', stored: at(2) });
  await edge.data(at(1), 1);
  t.match(await edge.reply(), { type: 'ack', stored: at(2) }, 'also one from before the last');
  t.strictSame(await storedSeqs(router.queuePath), [1, 2]);
  t.equal(await router.process.metric('holdfast_duplicate_batches_total'), 4);
  t.equal(await router.process.metric('holdfast_records_in_total'), 2);
});

void test('a batch behind a gap is not stored: the edge is told where to go on', async (t) => {
  const router = await TestRouter.start(t);
  const edge = new FakeEdge(router.intake);
  t.teardown(() => edge.close());
  await edge.hello();
  await edge.reply();
  await edge.data(at(1), 1);
  t.match(await edge.reply(), { type: 'ack', stored: at(1) });
  // 2 is lost; 3, 4 and 5 are under way.
  for (const offset of [3, 4, 5]) await edge.data(at(offset), offset);
  t.match(await edge.reply(), { type: 'welcome', stored: at(1) }, 'one WELCOME for all that is behind the gap');
  for (const offset of [2, 3]) await edge.data(at(offset), offset);
  await edge.untilStored(3);
  t.strictSame(await storedSeqs(router.queuePath), [1, 2, 3]);
  // A new open of the edge's queue: offsets go on, the epoch is another, and the batch names what was sent before.
  await edge.data(at(4, EPOCH + 5), 4, at(3));
  t.match(await edge.untilStored(4), { stored: at(4, EPOCH + 5) });
  t.equal(await router.process.metric('holdfast_rewinds_total'), 1);
});

void test('nothing is taken from whom nobody knows, and the reason is told', async (t) => {
  const router = await TestRouter.start(t, { ROUTER_SHARD: 'north' });
  const edge = new FakeEdge(router.intake);
  t.teardown(() => edge.close());
  await edge.data(at(1), 1);
  t.match(await edge.reply(), { type: 'refused', reason: 'HELLO first' });
  await edge.hello(START, 'south');
  t.match(await edge.reply(), { type: 'refused', reason: /serves shard north, not south/ });
  await edge.data(at(1), 1);
  t.match(await edge.reply(), { type: 'refused', reason: 'HELLO first' });
  t.strictSame(await storedSeqs(router.queuePath), []);
  await edge.hello(START, 'north');
  t.match(await edge.reply(), { type: 'welcome' });
});

void test('a damaged batch is not stored and is counted, and the edge sends it again', async (t) => {
  const router = await TestRouter.start(t);
  const edge = new FakeEdge(router.intake);
  t.teardown(() => edge.close());
  await edge.hello();
  await edge.reply();
  await edge.data(at(1), 1);
  await edge.untilStored(1);
  const good = makeStampedBatch(at(2), [2]);
  const damaged = Buffer.from(good);
  damaged[60]! ^= 1;
  const nowhere = makeBatch([2]);
  stampBatch(nowhere, { epoch: Number.NaN, offset: 2 }, 1);
  const bad = [damaged, nowhere, good.subarray(0, 50), Buffer.alloc(0), Buffer.alloc(300_000, 7)];
  for (const batch of bad) {
    await edge.send([encodeDataHeader(at(1)), batch]);
    t.match(await edge.reply(), { type: 'welcome', stored: at(1) });
    // Where it goes on after the WELCOME it begins with what is stored.
    await edge.data(at(1), 1);
    t.match(await edge.reply(), { type: 'ack', stored: at(1) });
    await edge.hello(at(2));
    t.match(await edge.reply(), { type: 'welcome', stored: at(1) });
  }
  await edge.send([encodeDataHeader(at(1)), good]);
  await edge.untilStored(2);
  t.strictSame(await storedSeqs(router.queuePath), [1, 2]);
  t.equal(await router.process.metric('holdfast_rejected_total{reason="bad_batch"'), bad.length);
});

void test('frames that make no sense harm nobody', async (t) => {
  const router = await TestRouter.start(t);
  const noise = new FakeEdge(router.intake);
  const edge = new FakeEdge(router.intake);
  t.teardown(() => [noise, edge].forEach((peer) => peer.close()));
  await edge.hello();
  await edge.reply();
  for (let round = 0; round < 300; round++) {
    const frames = Array.from({ length: 1 + (round % 4) }, () => randomBytes(Math.floor(Math.random() * 60)));
    if (round % 2 === 0) frames[0] = Buffer.concat([Buffer.of(round % 7), frames[0]!]);
    await noise.send(frames);
    if (round % 50 === 0) {
      const offset = round / 50 + 1;
      await edge.data(at(offset), offset);
      await edge.untilStored(offset);
    }
  }
  t.strictSame(await storedSeqs(router.queuePath), [1, 2, 3, 4, 5, 6]);
  t.ok(router.process.running);
});

void test('at its quota the router gives no credit, stores nothing, and gives credit again after a release', async (t) => {
  const router = await TestRouter.start(t, { ROUTER_QUOTA: '1MiB', ROUTER_RETAIN: '0' });
  const edge = new FakeEdge(router.intake);
  t.teardown(() => edge.close());
  await edge.hello();
  await edge.reply();
  let offset = 0;
  let credit = Infinity;
  while (credit > 0) {
    offset++;
    await edge.data(at(offset), offset, undefined, 100_000);
    const reply = await edge.reply();
    if (reply.type === 'refused') throw new Error(reply.reason);
    credit = reply.creditBytes;
  }
  const stored = offset;
  // One that sends without credit is refused once there is no room at all.
  for (let over = stored + 1; over <= stored + 4; over++) await edge.data(at(over), over, undefined, 100_000);
  let reply = await edge.reply();
  while (reply.type !== 'welcome') reply = await edge.reply();
  t.equal(reply.creditBytes, 0);
  const kept = reply.stored.offset;
  t.ok(kept < stored + 4);
  t.equal((await storedSeqs(router.queuePath)).length, kept);
  const consumer = await TestConsumer.start(t, router);
  await consumer.untilRecords(kept);
  consumer.ack();
  const again = await edge.reply();
  t.match(again, { type: 'welcome', stored: at(kept) }, 'it hears of the room by itself');
  t.ok(again.type === 'welcome' && again.creditBytes > 0);
  await edge.data(at(kept + 1), kept + 1);
  await edge.untilStored(kept + 1);
  await consumer.untilRecords(kept + 1);
  t.strictSame(
    consumer.seqs,
    Array.from({ length: kept + 1 }, (_, index) => index + 1),
  );
});

void test('a HELLO while batches are committed is answered when they are stored', async (t) => {
  const router = await TestRouter.start(t);
  const queueId = randomUUID();
  let offset = 0;
  for (let round = 0; round < 20; round++) {
    const edge = new FakeEdge(router.intake, queueId);
    await edge.hello();
    const welcome = await edge.reply();
    t.match(welcome, { type: 'welcome' });
    if (welcome.type === 'refused') throw new Error(welcome.reason);
    t.equal(welcome.stored.offset, offset, 'all that was accepted before is stored by now');
    // Batches and HELLO in one go: the router has them before it can have committed.
    for (let batch = 0; batch < 5; batch++) {
      offset++;
      await edge.data(at(offset), offset, offset === 1 ? START : at(offset - 1), 50_000);
    }
    await edge.hello();
    let reply = await edge.reply();
    while (reply.type !== 'welcome') reply = await edge.reply();
    t.equal(reply.stored.offset, offset, 'what came before the HELLO counts');
    edge.close();
  }
  t.strictSame(
    await storedSeqs(router.queuePath),
    Array.from({ length: offset }, (_, index) => index + 1),
  );
});

void test('a peer that does not read its replies does not hold up the others', async (t) => {
  const router = await TestRouter.start(t, { LOG_LEVEL: 'error' });
  const deaf = new FakeEdge(router.intake, randomUUID(), { receiveHighWaterMark: 1 });
  t.teardown(() => deaf.close());
  const edge = new FakeEdge(router.intake);
  t.teardown(() => edge.close());
  await edge.hello();
  await edge.reply();
  // More refusals than its pipe, the network and its own socket hold.
  for (let round = 0; round < 60_000; round++) await deaf.hello(START, 'x'.repeat(128));
  await edge.data(at(1), 1);
  t.match(await edge.reply(), { type: 'ack', stored: at(1) });
  t.ok(router.process.running);
});

void test('SIGTERM ends a router whose edges go on sending, and what it had acked is stored', async (t) => {
  const router = await TestRouter.start(t);
  const edge = new FakeEdge(router.intake);
  await edge.hello();
  await edge.reply();
  let isOver = false;
  let acked = 0;
  const hear = async (): Promise<void> => {
    while (!isOver) {
      const reply = await edge.reply();
      if (reply.type !== 'refused') acked = reply.stored.offset;
    }
  };
  const send = async (): Promise<void> => {
    for (let offset = 1; !isOver; offset++) await edge.data(at(offset), offset, undefined, 20_000);
  };
  const loops = Promise.allSettled([hear(), send()]);
  await until(() => acked > 100);
  const stopping = performance.now();
  t.equal(await router.process.end('SIGTERM'), 0, router.process.output);
  t.comment(`it took ${Math.round(performance.now() - stopping)} ms`);
  isOver = true;
  edge.close();
  await loops;
  const seqs = await storedSeqs(router.queuePath);
  t.ok(seqs.length >= acked);
  t.ok(seqs.every((seq, index) => seq === index + 1));
});

/** Sends batches of a queue in order and again what is not acked, through whatever happens to the router. */
class PersistentEdge {
  readonly queueId = randomUUID();
  stored = 0;
  #isOver = false;

  constructor(private readonly endpoint: string) {}

  async run(): Promise<void> {
    while (!this.#isOver) {
      const edge = new FakeEdge(this.endpoint, this.queueId);
      const lost = sleep(400 + Math.random() * 400);
      await Promise.race([this.#session(edge).catch(() => undefined), lost]);
      edge.close();
    }
  }

  stop(): void {
    this.#isOver = true;
  }

  async #session(edge: FakeEdge): Promise<void> {
    await edge.hello();
    let sent = 0;
    let isWelcome = false;
    const hear = async (): Promise<void> => {
      while (!edge.closed) {
        const reply = await edge.reply();
        if (reply.type === 'refused') return;
        this.stored = Math.max(this.stored, reply.stored.offset);
        if (reply.type === 'welcome') sent = reply.stored.offset;
        isWelcome = true;
      }
    };
    const send = async (): Promise<void> => {
      while (!edge.closed) {
        if (!isWelcome || sent > this.stored + 50) await sleep(1);
        else {
          sent++;
          await edge.data(at(sent), sent, sent === 1 ? START : at(sent - 1), 2_000);
        }
      }
    };
    await Promise.race([hear(), send()]);
  }
}

void test('through kill -9 of the router under load every edge batch is stored exactly once, in order', async (t) => {
  const router = await TestRouter.start(t);
  const edges = [new PersistentEdge(router.intake), new PersistentEdge(router.intake)];
  const runs = edges.map((edge) => edge.run());
  for (let kill = 0; kill < 10; kill++) {
    const goal = edges.map(({ stored }) => stored + 20);
    await until(() => edges.every(({ stored }, index) => stored > goal[index]!));
    await sleep(Math.random() * 100);
    await router.process.end('SIGKILL');
    await router.process.start();
  }
  for (const edge of edges) edge.stop();
  await Promise.all(runs);
  await router.process.end('SIGTERM');
  const reader = QueueReader.open(router.queuePath);
  const batches = readAll(reader);
  const seqs = batches.flatMap(seqsOf);
  const total = edges.reduce((sum, { queueId }) => sum + (reader.position(`source/${queueId}`)?.offset ?? 0), 0);
  t.equal(seqs.length, total, 'as many batches as the positions of the edges say');
  // Both edges send 1, 2, 3…: one that is stored once for each has no seq three times, and none that is missing.
  const lanes = [0, 0];
  for (const seq of seqs) {
    const lane = lanes.findIndex((last) => last === seq - 1);
    if (lane < 0) t.fail(`${seq} is out of order or stored twice`);
    else lanes[lane] = seq;
  }
  const positions = edges.map(({ queueId }) => reader.position(`source/${queueId}`)!.offset);
  t.strictSame(lanes.toSorted(), positions.toSorted());
  t.ok(edges.every(({ queueId, stored }) => reader.position(`source/${queueId}`)!.offset >= stored));
  await reader.close();
});
