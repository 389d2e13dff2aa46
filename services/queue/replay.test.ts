import { cpSync, existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'tap';
import { damagePayload, makeBatch, queueOptions, seqsOf } from '../../test/support/batches.js';
import { runHoldfast } from '../../test/support/holdfast.js';
import { TestConsumer, TestRouter } from '../../test/support/router.js';
import { formatPosition } from '../../shared/position.js';
import { Queue } from '../../shared/queue/queue.js';
import type { Replay } from './replay.js';
import { testDirectory } from '../../test/support/directory.js';

/** Batches of one record, with seqs from `first`. */
async function append(path: string, first: number, count: number): Promise<Queue> {
  const queue = Queue.open(path, queueOptions());
  for (let seq = first; seq < first + count; seq++) await queue.append([makeBatch([seq], 2_000)]);
  await queue.close();
  return queue;
}

async function replay(path: string, router: TestRouter, ...words: string[]): Promise<Replay & { code: number }> {
  const { code, stdout, stderr } = await runHoldfast(
    ['queue', 'replay', path, '--to', router.intake, '--json'].concat(words),
  );
  if (stdout === '') throw new Error(stderr);
  return { ...(JSON.parse(stdout) as Replay), code };
}

void test('damaged batches are named and passed over, also where the queue ends with one', async (t) => {
  const path = join(testDirectory(t), 'queue');
  const router = await TestRouter.start(t);
  const consumer = await TestConsumer.start(t, router);
  const queue = await append(path, 1, 20);
  for (const seq of [7, 8, 20]) damagePayload(path, seq);
  const damaged = [7, 8, 20].map((offset) => formatPosition({ ...queue.head, offset }));

  const kept = await replay(path, router, '--keep');
  t.match(kept, { code: 1, damaged, sent: { batches: 17 }, released: '0:0' });
  t.notOk(existsSync(join(path, 'quarantine')), 'with --keep nothing is written');
  await consumer.untilRecords(17);
  t.strictSame(
    consumer.seqs,
    Array.from({ length: 19 }, (_, index) => index + 1).filter((seq) => seq !== 7 && seq !== 8),
  );

  const again = await replay(path, router);
  const held = formatPosition({ ...queue.head, offset: 19 });
  t.match(again, { code: 1, damaged: [damaged[2]], sent: { batches: 0 }, heldBefore: held, released: held });
  t.strictSame(
    readdirSync(join(path, 'quarantine')),
    [damaged[2]!.replace(':', '-') + '.batch'],
    'what was not released is set aside for people to look at',
  );
});

void test('more than the credit allows is sent all the same, in order', async (t) => {
  const path = join(testDirectory(t), 'queue');
  const router = await TestRouter.start(t);
  const consumer = await TestConsumer.start(t, router);
  const queue = Queue.open(path, queueOptions());
  const count = 160;
  for (let seq = 1; seq <= count; seq++) await queue.append([makeBatch([seq], 200_000)]);
  await queue.close();
  const result = await replay(path, router);
  t.match(result, { code: 0, sent: { batches: count, records: count }, held: formatPosition(queue.head) });
  await consumer.untilRecords(count);
  t.strictSame(
    consumer.seqs,
    Array.from({ length: count }, (_, index) => index + 1),
  );
});

void test('an older copy sends and releases nothing, and says why', async (t) => {
  const root = testDirectory(t);
  const path = join(root, 'queue');
  const router = await TestRouter.start(t);
  await append(path, 1, 5);
  const copy = join(root, 'copy');
  cpSync(path, copy, { recursive: true });
  const later = await append(path, 6, 5);
  t.match(await replay(path, router), { code: 0, sent: { batches: 10 }, older: false });
  t.match(await replay(copy, router), {
    code: 1,
    sent: { batches: 0 },
    held: formatPosition(later.head),
    released: '0:0',
    older: true,
  });
});

void test('a queue that was replayed goes on where an edge opens it again', async (t) => {
  const path = join(testDirectory(t), 'queue');
  const router = await TestRouter.start(t);
  await append(path, 1, 5);
  t.equal((await replay(path, router)).code, 0);
  const opened = Queue.open(path, queueOptions());
  t.equal(opened.records, 0, 'nothing is left to forward');
  await opened.append([makeBatch([6])]);
  t.strictSame(opened.peek(opened.released, 2 ** 20).batches.flatMap(seqsOf), [6]);
  await opened.close();
  t.match(await replay(path, router), { code: 0, sent: { batches: 1, records: 1 } });
});
