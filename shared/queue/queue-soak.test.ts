import { once } from 'node:events';
import { test } from 'tap';
import { Worker } from 'node:worker_threads';
import { makeBatch, queueOptions, readAll, seqsOf } from '../../test/support/batches.js';
import { packagePath } from '../paths.js';
import { START } from '../position.js';
import { checkFile } from './check-file.js';
import { Queue } from './queue.js';
import { testDirectory } from '../../test/support/directory.js';

const READER = packagePath('dist', 'test', 'support', 'queue-peeker.js');

void test('under steady put and pop the file stays as it is, while a thread peeks all the time', async (t) => {
  const path = testDirectory(t);
  const queue = Queue.open(path, queueOptions());
  const reader = new Worker(READER, { workerData: path });
  await once(reader, 'message');
  const depth = 12;
  let seq = 0;
  let passedBytes = 0;
  const rounds = 400;
  for (let round = 1; round <= rounds; round++) {
    const sizes = [1_000, 60_000, 200_000, 100].map((size) => Math.ceil(size * (0.5 + Math.random() / 2)));
    const head = await queue.append(sizes.map((size) => makeBatch([++seq], size)));
    queue.release({ ...head, offset: Math.max(0, head.offset - depth) });
    passedBytes += sizes.reduce((sum, size) => sum + size);
    if (round % 100 === 0) t.equal(readAll(queue, queue.released).length, depth);
  }
  const { fileBytes, records, retainedBytes } = queue.stats();
  t.equal(records, depth);
  t.ok(retainedBytes < 2_000_000, `${retainedBytes} bytes wait to be deleted`);
  // How many pages a snapshot of the reader keeps from use at a time varies; a leak would keep all that has passed.
  t.ok(fileBytes < passedBytes / 10, `the file has ${fileBytes} bytes, ${passedBytes} have passed through it`);
  reader.postMessage('stop');
  const [peeked] = (await once(reader, 'message')) as [{ batches: number; disorder: number }];
  t.ok(peeked.batches > 0, 'the thread saw some');
  t.equal(peeked.disorder, 0);
  await once(reader, 'exit');
  const last = readAll(queue, queue.released).flatMap(seqsOf);
  t.strictSame(
    last,
    Array.from({ length: depth }, (_, index) => seq - depth + 1 + index),
  );
  await queue.close();
  t.equal(checkFile(`${path}/data.mdb`), undefined, 'every page is in its place');
});

void test('a backlog that drains gives its pages back: the next one as large does not make the file grow', async (t) => {
  const path = testDirectory(t);
  const queue = Queue.open(path, queueOptions());
  const sizes: number[] = [];
  for (let wave = 0; wave < 3; wave++) {
    for (let batch = 0; batch < 40; batch++) {
      await queue.append([makeBatch([batch], 100_000), makeBatch([batch], 200_000)]);
    }
    sizes.push(queue.stats().fileBytes);
    queue.release(queue.head);
    await queue.append([makeBatch([0])]);
    await queue.append([makeBatch([0])]);
    queue.release(queue.head);
  }
  t.ok(sizes[2]! < sizes[0]! * 1.2, `the file had ${sizes.join(', ')} bytes at the top of each backlog`);
  t.equal(readAll(queue, START).length <= 2, true);
  await queue.close();
});
