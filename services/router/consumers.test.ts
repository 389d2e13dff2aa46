import { randomBytes } from 'node:crypto';
import { cpSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { test, type Test } from 'tap';
import { Dealer, type SocketOptions } from 'zeromq';
import { FakeEdge } from '../../test/support/fake-edge.js';
import { until } from '../../test/support/processes.js';
import { TestConsumer, TestRouter } from '../../test/support/router.js';
import {
  decodeReply,
  encodeAttach,
  encodeConsumerAck,
  encodeFetch,
  MAX_FETCH_BYTES,
  type RouterReply,
} from '../../shared/consumer-frames.js';
import { SOCKET_OPTIONS } from '../../shared/links.js';
import { START, type Position } from '../../shared/position.js';
import { testDirectory } from '../../test/support/directory.js';

const EPOCH = 1_700_000_000_000;

/** An edge that has said HELLO, and stores one batch a seq. */
class Feeder {
  readonly edge: FakeEdge;
  #last = 0;

  constructor(t: Test, router: TestRouter, queueId?: string) {
    this.edge = new FakeEdge(router.intake, queueId);
    t.teardown(() => this.edge.close());
  }

  /** Says HELLO and goes on after what is stored. */
  async begin(): Promise<void> {
    await this.edge.hello();
    const reply = await this.edge.reply();
    if (reply.type !== 'welcome') throw new Error(`the answer to HELLO is ${reply.type}`);
    this.#last = reply.stored.offset;
  }

  /** Sends `count` batches more, and waits until they are stored. */
  async feed(count: number, payloadBytes = 500): Promise<void> {
    for (let sent = 0; sent < count; sent++) {
      const previous = this.#last === 0 ? START : { epoch: EPOCH, offset: this.#last };
      this.#last++;
      await this.edge.data({ epoch: EPOCH, offset: this.#last }, this.#last, previous, payloadBytes);
    }
    await this.edge.untilStored(this.#last);
  }
}

async function startFed(t: Test, keys: Readonly<Record<string, string>> = {}): Promise<[TestRouter, Feeder]> {
  const router = await TestRouter.start(t, keys);
  const feeder = new Feeder(t, router);
  await feeder.begin();
  return [router, feeder];
}

function upTo(last: number): number[] {
  return Array.from({ length: last }, (_, index) => index + 1);
}

/** A consumer made of raw frames. */
class RawConsumer {
  readonly #socket: Dealer;

  constructor(t: Test, router: TestRouter, options: SocketOptions<Dealer> = {}) {
    this.#socket = new Dealer({ ...SOCKET_OPTIONS, sendTimeout: 10_000, receiveTimeout: 10_000, ...options });
    this.#socket.connect(router.consumers);
    t.teardown(() => this.#socket.close());
  }

  send(frame: Buffer): Promise<void> {
    return this.#socket.send([frame]);
  }

  async ask(frame: Buffer): Promise<{ reply: RouterReply; batches: Buffer[] }> {
    await this.send(frame);
    const [head, ...batches] = await this.#socket.receive();
    const reply = head === undefined ? undefined : decodeReply(head);
    if (reply === undefined) throw new Error('the router sent what is no reply');
    return { reply, batches };
  }
}

void test('a consumer that comes late gets everything from the beginning, then what comes', async (t) => {
  const [router, feeder] = await startFed(t);
  await feeder.feed(300);
  const consumer = await TestConsumer.start(t, router);
  await consumer.untilRecords(300);
  await feeder.feed(100);
  await consumer.untilRecords(400);
  t.strictSame(consumer.seqs, upTo(400));
  t.equal(new Set(consumer.queueIds).size, 1);
});

void test('a consumer gets batches while they come, each once, in order', async (t) => {
  const [router, feeder] = await startFed(t);
  const consumer = await TestConsumer.start(t, router);
  await until(() => consumer.consumer.attached);
  for (let round = 0; round < 20; round++) {
    const reading = consumer.untilRecords((round + 1) * 20);
    await feeder.feed(20);
    await reading;
    consumer.ack();
  }
  t.strictSame(consumer.seqs, upTo(400));
  await until(async () => (await router.process.metric('holdfast_queue_records')) === 0);
});

void test('what a slow consumer has no room for is let go and fetched later', async (t) => {
  const [router, feeder] = await startFed(t);
  const consumer = await TestConsumer.start(t, router, { maxBufferBytes: 50_000 });
  await until(() => consumer.consumer.attached);
  await feeder.feed(200, 5_000);
  for (let done = 1; done <= 10; done++) {
    await feeder.feed(30, 5_000);
    await consumer.untilRecords(done * 20, 30_000);
  }
  await consumer.untilRecords(500, 30_000);
  t.strictSame(consumer.seqs, upTo(500));
});

void test('a consumer whose thread stands still for a while misses nothing', async (t) => {
  const [router, feeder] = await startFed(t);
  const consumer = await TestConsumer.start(t, router, { maxBufferBytes: 2 ** 25 });
  await feeder.feed(10);
  await consumer.untilRecords(10);
  // Over what the sockets hold (64 messages each): PUB drops.
  const feeding = feeder.feed(1_000, 60_000);
  await sleep(20);
  const awake = performance.now() + 1_500;
  while (performance.now() < awake);
  await feeding;
  await consumer.untilRecords(1_010);
  t.strictSame(consumer.seqs, upTo(1_010));
});

void test('through kill -9 of the router a consumer gets every batch once, in order', async (t) => {
  const router = await TestRouter.start(t);
  const queueId = '5a0f2b34-1111-4222-8333-444455556666';
  const consumer = await TestConsumer.start(t, router);
  let expected = 0;
  for (let kill = 0; kill < 4; kill++) {
    const feeder = new Feeder(t, router, queueId);
    await feeder.begin();
    await feeder.feed(40);
    expected += 40;
    if (kill % 2 === 0) {
      await consumer.untilRecords(expected);
      consumer.ack();
    }
    await router.process.end('SIGKILL');
    await router.process.start();
  }
  await consumer.untilRecords(expected);
  t.strictSame(consumer.seqs, upTo(expected));
  t.equal(consumer.resumes.length, 1, 'it is the same queue: it goes on where it was');
  consumer.ack();
  await until(async () => (await router.process.metric('holdfast_queue_records')) === 0);
});

void test('what was acked while the router was away is acked when it is back, without a new batch', async (t) => {
  const [router, feeder] = await startFed(t);
  await feeder.feed(50);
  const consumer = await TestConsumer.start(t, router);
  await consumer.untilRecords(50);
  await router.process.end('SIGKILL');
  await until(() => !consumer.consumer.attached);
  consumer.ack();
  await router.process.start();
  await until(async () => (await router.process.metric('holdfast_queue_records')) === 0);
  t.equal(await router.process.metric('holdfast_consumer_lag_batches'), 0);
});

void test('a consumer that starts again with an older position gets what came after it again', async (t) => {
  const [router, feeder] = await startFed(t);
  await feeder.feed(30);
  const first = new TestConsumer(router);
  await first.consumer.start();
  await first.untilRecords(30);
  first.ack();
  await until(async () => (await router.process.metric('holdfast_queue_records')) === 0);
  await first.consumer.stop();
  await feeder.feed(10);
  const [epoch] = first.positions[0]!.split(':').map(Number);
  // Its own word counts, not the cursor: what it lost (a database restored from a backup) is there by ROUTER_RETAIN.
  const second = await TestConsumer.start(t, router, { resume: () => Promise.resolve({ epoch: epoch!, offset: 12 }) });
  await second.untilRecords(28);
  t.strictSame(second.seqs, upTo(40).slice(12));
  const third = await TestConsumer.start(t, router, {
    resume: (_, cursor) => {
      t.equal(cursor.offset, 30, 'the router says what it knows to be acked');
      return Promise.resolve(START);
    },
  });
  await third.untilRecords(40);
  t.strictSame(third.seqs, upTo(40));
});

void test('a resume that fails is tried again, and nothing is delivered before it has succeeded', async (t) => {
  const [router, feeder] = await startFed(t);
  await feeder.feed(5);
  let tries = 0;
  const consumer = await TestConsumer.start(t, router, {
    resume: () => (++tries < 2 ? Promise.reject(new Error('the database is away')) : Promise.resolve(START)),
  });
  await consumer.untilRecords(5);
  t.equal(tries, 2);
  t.strictSame(consumer.seqs, upTo(5));
});

void test('a router with a new queue is noticed: positions of the old one mean nothing in it', async (t) => {
  const [router, feeder] = await startFed(t);
  const resumed: string[] = [];
  const consumer = await TestConsumer.start(t, router, {
    resume: (queueId) => {
      resumed.push(queueId);
      return Promise.resolve(START);
    },
  });
  await feeder.feed(20);
  await consumer.untilRecords(20);
  await router.process.end('SIGTERM');
  rmSync(router.queuePath, { recursive: true });
  await router.process.start();
  // It was told of everything: nothing of the old queue may be acked in the new one.
  consumer.ack();
  const other = new Feeder(t, router);
  await other.begin();
  await other.feed(8);
  await consumer.untilRecords(28);
  t.strictSame(consumer.seqs, [...upTo(20), ...upTo(8)]);
  t.equal(resumed.length, 2);
  t.not(resumed[0], resumed[1]);
  t.equal(await router.process.metric('holdfast_queue_records'), 8, 'none of them counts as acked');
  consumer.consumer.ack(resumed[0]!, consumer.through);
  const raw = new RawConsumer(t, router);
  await raw.ask(encodeAttach('storage'));
  t.equal(await router.process.metric('holdfast_queue_records'), 8, 'an ack in the name of the old queue is none');
});

void test('a router whose queue is an older copy goes on with what comes', async (t) => {
  const [router, feeder] = await startFed(t);
  const consumer = await TestConsumer.start(t, router);
  await feeder.feed(10);
  await consumer.untilRecords(10);
  await router.process.end('SIGTERM');
  const copy = join(testDirectory(t), 'copy');
  cpSync(router.queuePath, copy, { recursive: true });
  await router.process.start();
  const second = new Feeder(t, router, feeder.edge.queueId);
  await second.begin();
  await second.feed(10);
  await consumer.untilRecords(20);
  consumer.ack();
  await router.process.end('SIGTERM');
  rmSync(router.queuePath, { recursive: true });
  cpSync(copy, router.queuePath, { recursive: true });
  await router.process.start();
  const third = new Feeder(t, router);
  await third.begin();
  await third.feed(5);
  await consumer.untilRecords(25);
  t.strictSame(consumer.seqs.slice(20), upTo(5), 'what comes after the restore is delivered');
});

void test('a consumer that is not registered is refused, and told what to do', async (t) => {
  const router = await TestRouter.start(t, { ROUTER_CONSUMERS: 'storage,shadow' });
  const raw = new RawConsumer(t, router);
  const { reply } = await raw.ask(encodeAttach('live'));
  t.match(reply, { type: 'refused', reason: /"live" is not registered here: add it to ROUTER_CONSUMERS/ });
  const fetch = encodeFetch({ request: 1, after: START, maxBytes: 1_000 });
  t.match((await raw.ask(fetch)).reply, { type: 'refused', reason: 'ATTACH first' });
  t.match((await raw.ask(encodeConsumerAck(START))).reply, { type: 'refused', reason: 'ATTACH first' });
  t.match((await raw.ask(encodeAttach('shadow'))).reply, { type: 'attached' });
  const client = await TestConsumer.start(t, router, { name: 'live' });
  await until(async () => (await router.process.metric('holdfast_rejected_total{reason="consumer"')) >= 4);
  t.notOk(client.consumer.attached);
});

void test('nothing is released before every registered consumer has acked it, not even before it has ever been there', async (t) => {
  const [router, feeder] = await startFed(t, { ROUTER_CONSUMERS: 'storage,shadow', ROUTER_RETAIN: '0' });
  await feeder.feed(60);
  const storage = await TestConsumer.start(t, router);
  await storage.untilRecords(60);
  storage.ack();
  await until(async () => (await router.process.metric('holdfast_consumer_lag_batches{consumer="storage"')) === 0);
  t.equal(await router.process.metric('holdfast_queue_records'), 60);
  await router.process.end('SIGKILL');
  await router.process.start();
  t.equal(await router.process.metric('holdfast_queue_records'), 60);
  const shadow = await TestConsumer.start(t, router, { name: 'shadow' });
  await shadow.untilRecords(60);
  t.strictSame(shadow.seqs, upTo(60));
  const [epoch] = shadow.positions[0]!.split(':').map(Number);
  shadow.ack({ epoch: epoch!, offset: 25 });
  await until(async () => (await router.process.metric('holdfast_queue_records')) === 35);
  shadow.ack();
  await until(async () => (await router.process.metric('holdfast_queue_records')) === 0);
});

void test('ROUTER_RETAIN keeps batches for replay, and the gauges show only what is not released', async (t) => {
  const [router, feeder] = await startFed(t, { ROUTER_RETAIN: '20KiB' });
  const consumer = await TestConsumer.start(t, router);
  await feeder.feed(100, 1_000);
  await consumer.untilRecords(100);
  consumer.ack();
  await until(async () => (await router.process.metric('holdfast_queue_records')) === 0);
  t.equal(await router.process.metric('holdfast_queue_bytes'), 0);
  await until(async () => (await router.process.metric('holdfast_queue_retained_bytes')) <= 20 * 1024);
  const retained = await router.process.metric('holdfast_queue_retained_bytes');
  t.ok(retained > 18 * 1024, `${retained} bytes are kept`);
  const raw = new RawConsumer(t, router);
  await raw.ask(encodeAttach('storage'));
  // The gauge tells what stays once the deletion is on disk; readers see the rest until then.
  await until(async () => {
    const { batches } = await raw.ask(encodeFetch({ request: 7, after: START, maxBytes: MAX_FETCH_BYTES }));
    return batches.reduce((sum, batch) => sum + batch.length, 0) === retained;
  });
});

void test('a consumer taken out of ROUTER_CONSUMERS holds nothing any more; one that is added begins with what is kept', async (t) => {
  const path = testDirectory(t);
  const both = await TestRouter.make(t, path, { ROUTER_CONSUMERS: 'storage,shadow', ROUTER_RETAIN: '10MiB' });
  await both.process.start();
  const feeder = new Feeder(t, both);
  await feeder.begin();
  await feeder.feed(30);
  const storage = new TestConsumer(both);
  await storage.consumer.start();
  await storage.untilRecords(30);
  storage.ack();
  await until(async () => (await both.process.metric('holdfast_consumer_lag_batches{consumer="storage"')) === 0);
  await storage.consumer.stop();
  t.equal(await both.process.metric('holdfast_queue_records'), 30);
  await both.process.end('SIGTERM');

  const one = await TestRouter.make(t, path, { ROUTER_CONSUMERS: 'storage', ROUTER_RETAIN: '10MiB' });
  await one.process.start();
  t.equal(await one.process.metric('holdfast_queue_records'), 0, 'at once, without another ack');
  t.match(one.process.output, /forgot the cursor of a consumer that ROUTER_CONSUMERS does not name/);
  await one.process.end('SIGTERM');

  const again = await TestRouter.make(t, path, { ROUTER_CONSUMERS: 'storage,shadow', ROUTER_RETAIN: '10MiB' });
  await again.process.start();
  const more = new Feeder(t, again);
  await more.begin();
  await more.feed(5);
  const shadow = await TestConsumer.start(t, again, { name: 'shadow' });
  await shadow.untilRecords(5);
  t.equal(shadow.resumes[0]!.cursor.offset, 30, 'it begins where the others are');
  t.strictSame(shadow.seqs, upTo(5));
  await shadow.consumer.stop();
  const resume = (): Promise<Position> => Promise.resolve(START);
  const first = await TestConsumer.start(t, again, { name: 'shadow', resume });
  await first.untilRecords(35);
  t.strictSame(first.seqs, [...upTo(30), ...upTo(5)], 'from the start it gets what the queue still has');
  t.equal(await again.process.metric('holdfast_queue_records'), 5, 'and holds what comes from now on');
});

void test('an ack of what the queue does not have is refused, and moves no cursor', async (t) => {
  const [router, feeder] = await startFed(t);
  await feeder.feed(5);
  const raw = new RawConsumer(t, router);
  const { reply } = await raw.ask(encodeAttach('storage'));
  if (reply.type !== 'attached') throw new Error(reply.type);
  const beyond: Position[] = [
    { epoch: reply.head.epoch, offset: 6 },
    { epoch: reply.head.epoch + 1, offset: 1 },
  ];
  for (const position of beyond) {
    t.match((await raw.ask(encodeConsumerAck(position))).reply, { type: 'refused', reason: /is after the head/ });
  }
  t.equal(await router.process.metric('holdfast_queue_records'), 5);
  await raw.send(encodeConsumerAck({ epoch: reply.head.epoch, offset: 3 }));
  await until(async () => (await router.process.metric('holdfast_queue_records')) === 2);
  await raw.send(encodeConsumerAck({ epoch: reply.head.epoch, offset: 1 }));
  const attached = await raw.ask(encodeAttach('storage'));
  t.ok(attached.reply.type === 'attached' && attached.reply.cursor.offset === 3, 'an older ack takes nothing back');
});

void test('frames that make no sense are refused and harm nobody', async (t) => {
  const [router, feeder] = await startFed(t);
  const raw = new RawConsumer(t, router);
  for (let round = 0; round < 200; round++) {
    const noise = Buffer.concat([Buffer.of(round % 8 === 1 ? 9 : round % 8), randomBytes(round % 50)]);
    const { reply } = await raw.ask(noise[0] === 1 ? Buffer.of(9) : noise);
    t.equal(reply.type, 'refused');
  }
  const consumer = await TestConsumer.start(t, router);
  await feeder.feed(3);
  await consumer.untilRecords(3);
  t.strictSame(consumer.seqs, upTo(3));
});

void test('a consumer that asks and does not read holds up nobody', async (t) => {
  const [router, feeder] = await startFed(t, { ROUTER_CONSUMERS: 'storage,shadow' });
  await feeder.feed(40, 200_000);
  const deaf = new RawConsumer(t, router, { receiveHighWaterMark: 1 });
  await deaf.ask(encodeAttach('shadow'));
  for (let request = 1; request <= 60; request++) {
    await deaf.send(encodeFetch({ request, after: START, maxBytes: MAX_FETCH_BYTES }));
  }
  const consumer = await TestConsumer.start(t, router, { maxBufferBytes: 2 ** 25 });
  await consumer.untilRecords(40);
  t.strictSame(consumer.seqs, upTo(40));
});

void test('with no consumer registered, batches are published and released at once', async (t) => {
  const [router, feeder] = await startFed(t, { ROUTER_CONSUMERS: '', ROUTER_RETAIN: '0' });
  await feeder.feed(20);
  await until(async () => (await router.process.metric('holdfast_records_out_total')) > 0);
  await until(async () => (await router.process.metric('holdfast_queue_records')) === 0);
});
