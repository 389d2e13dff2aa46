import { setTimeout as sleep } from 'node:timers/promises';
import { test, type Test } from 'tap';
import { batchAt, FakeRouter, positionOf } from '../test/support/fake-router.js';
import { until } from '../test/support/processes.js';
import { TestConsumer } from '../test/support/router.js';

/** A consumer that is attached to a router of raw frames, has fetched, and hears what is published. */
async function connect(t: Test, head = 0): Promise<[FakeRouter, TestConsumer]> {
  const router = await FakeRouter.start();
  router.head = head;
  const consumer = await TestConsumer.start(t, router);
  t.teardown(() => router.stop());
  // It attaches once more when it hears that its connection is made, and fetches after that.
  await until(() => router.isHeard && router.count('attach') > 1 && router.requests.at(-1)?.type === 'fetch');
  if (head > 0) await consumer.untilRecords(head);
  const next = head + 1;
  router.head = next;
  await router.publishHead();
  await consumer.untilRecords(next);
  return [router, consumer];
}

function upTo(last: number): number[] {
  return Array.from({ length: last }, (_, index) => index + 1);
}

void test('batches that follow each other are taken as they are published, without a question', async (t) => {
  const [router, consumer] = await connect(t, 3);
  await until(() => router.requests.at(-1)?.type === 'fetch');
  await sleep(20);
  const fetches = router.count('fetch');
  for (let offset = 5; offset <= 40; offset++) await router.publishBatch(offset);
  await consumer.untilRecords(40);
  t.strictSame(consumer.seqs, upTo(40));
  t.equal(router.count('fetch'), fetches);
});

void test('a batch that does not follow makes the consumer fetch what is missing, once', async (t) => {
  const [router, consumer] = await connect(t);
  for (const offset of [2, 3, 7, 8, 9]) await router.publishBatch(offset);
  await consumer.untilRecords(9);
  t.strictSame(consumer.seqs, upTo(9));
  await router.publishBatch(10);
  await consumer.untilRecords(10);
  t.strictSame(consumer.seqs, upTo(10));
});

void test('a gap at the tail shows by the head alone', async (t) => {
  const [router, consumer] = await connect(t);
  router.head = 6;
  await router.publishHead();
  await consumer.untilRecords(6);
  t.strictSame(consumer.seqs, upTo(6));
});

void test('what was delivered before is not delivered again, whoever sends it', async (t) => {
  const [router, consumer] = await connect(t);
  for (const offset of [2, 3, 2, 1, 3, 4]) await router.publishBatch(offset);
  await consumer.untilRecords(4);
  const last = router.requests.findLast((request) => request.type === 'fetch');
  await router.sendFetched(last?.type === 'fetch' ? last.request : 0, batchAt(1), batchAt(2));
  await router.sendFetched(99, batchAt(5), batchAt(6));
  await router.publishBatch(5);
  await consumer.untilRecords(5);
  t.strictSame(consumer.seqs, upTo(5));
});

void test('a batch that is damaged on its way is never delivered', async (t) => {
  const [router, consumer] = await connect(t);
  const good = router.answer;
  router.answer = (after) => {
    router.answer = good;
    return [batchAt(after + 1), Buffer.from(batchAt(after + 2)).fill(0, 60, 64)];
  };
  router.head = 4;
  await router.publishHead();
  await consumer.untilRecords(4);
  t.strictSame(consumer.seqs, upTo(4));
});

void test('a refusal makes it attach again, and it goes on where it was', async (t) => {
  const [router, consumer] = await connect(t);
  await router.publishBatch(2);
  await consumer.untilRecords(2);
  consumer.ack();
  await until(() => router.count('ack') > 0);
  const attaches = router.count('attach');
  await router.refuse('ATTACH first');
  await until(() => router.count('attach') > attaches && consumer.consumer.attached);
  await until(() => router.requests.findLast((request) => request.type === 'ack') !== undefined);
  await router.publishBatch(3);
  await consumer.untilRecords(3);
  t.strictSame(consumer.seqs, upTo(3));
  t.equal(consumer.resumes.length, 1);
  // The cursor that ATTACHED named was behind: the router hears once more what is acked.
  const acks = router.requests.filter((request) => request.type === 'ack');
  t.strictSame(acks.at(-1), { type: 'ack', position: positionOf(2) });
});

void test('a reply that is lost is waited for no longer where the clock is set back by an hour', async (t) => {
  const [router, consumer] = await connect(t);
  const fetches = router.count('fetch');
  router.isSilent = true;
  router.head = 2;
  await router.publishHead();
  await until(() => router.count('fetch') > fetches);
  const { now } = Date;
  t.teardown(() => (Date.now = now));
  Date.now = () => now() - 3_600_000;
  router.isSilent = false;
  await consumer.untilRecords(2);
  t.strictSame(consumer.seqs, upTo(2));
});

void test('a read of little brings at least a batch, and a stop ends the read that waits', async (t) => {
  const router = await FakeRouter.start();
  t.teardown(() => router.stop());
  router.head = 3;
  const consumer = new TestConsumer(router);
  await consumer.consumer.start();
  for (const offset of [1, 2, 3]) {
    await consumer.readOnce(1);
    t.equal(consumer.through.offset, offset);
  }
  const reading = consumer.consumer.read(1_000);
  await consumer.consumer.stop();
  t.equal(await reading, undefined);
  t.equal(await consumer.consumer.read(1_000), undefined);
});
