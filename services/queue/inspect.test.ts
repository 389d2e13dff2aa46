import { execFile } from 'node:child_process';
import { mkdirSync, readFileSync, truncateSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'tap';
import { damagePayload, makeBatch, queueOptions } from '../../test/support/batches.js';
import { packagePath } from '../../shared/paths.js';
import { formatPosition } from '../../shared/position.js';
import { Queue } from '../../shared/queue/queue.js';
import { describeInspection, inspectQueue, type Inspection } from './inspect.js';
import { testDirectory } from '../../test/support/directory.js';

interface Ended {
  readonly code: number;
  readonly output: string;
}

function runInspect(...words: string[]): Promise<Ended> {
  const cli = packagePath('dist', 'services', 'cli.js');
  return new Promise((resolve) => {
    execFile(process.execPath, [cli, 'queue', 'inspect', ...words], (error, stdout, stderr) => {
      resolve({ code: error === null ? 0 : Number(error.code), output: stdout + stderr });
    });
  });
}

/** Ten batches of two records, four of them released and kept, with a consumer and a source. */
async function makeQueue(path: string): Promise<Queue> {
  const queue = Queue.open(path, queueOptions({ retainBytes: 2 ** 20 }));
  for (let batch = 1; batch <= 10; batch++) {
    await queue.append([makeBatch([2 * batch, 2 * batch + 1], 100)], [['source/edge-1', { epoch: 5, offset: batch }]]);
  }
  queue.release({ ...queue.head, offset: 4 });
  queue.setPosition('cursor/storage', { ...queue.head, offset: 4 });
  return queue;
}

void test('an inspection tells what lies in a queue, also beside its writer', async (t) => {
  const path = join(testDirectory(t), 'queue');
  const queue = await makeQueue(path);
  const { bytes, retainedBytes } = queue.stats();
  const expected = {
    path,
    queueId: queue.id,
    head: formatPosition(queue.head),
    first: formatPosition({ ...queue.head, offset: 1 }),
    sources: { 'edge-1': '5:10' },
    damaged: [],
  };
  t.match(await inspectQueue(path), expected);
  await queue.close();
  const inspection = await inspectQueue(path);
  t.match(inspection, {
    ...expected,
    released: formatPosition({ ...queue.head, offset: 4 }),
    waiting: { batches: 6, records: 12, bytes },
    retained: { batches: 4, records: 8, bytes: retainedBytes },
    cursors: { storage: formatPosition({ ...queue.head, offset: 4 }) },
  });
  t.match(inspection.oldest, /^\d{4}-\d\d-\d\dT/);
  const text = describeInspection(inspection);
  t.match(text, `waiting           12 records in 6 batches, ${bytes} bytes\n`);
  t.match(text, /checksums +all good\n/);
  t.match(text, /consumer storage +\d+:4\n/);
  const { code, output } = await runInspect(path, '--json');
  t.equal(code, 0);
  t.strictSame(JSON.parse(output), JSON.parse(JSON.stringify(inspection)));
});

void test('it names a damaged batch, ends with 1, and changes nothing', async (t) => {
  const path = join(testDirectory(t), 'queue');
  const queue = await makeQueue(path);
  await queue.close();
  const file = join(path, 'data.mdb');
  damagePayload(path, 14);
  const data = readFileSync(file);
  const { code, output } = await runInspect(path);
  t.equal(code, 1);
  t.match(output, /checksums +1 damaged/);
  t.match(output, `damaged ${formatPosition({ ...queue.head, offset: 7 })}`);
  t.match(output, 'its checksum does not match its bytes');
  t.ok(readFileSync(file).equals(data));
});

void test('what is no queue is said to be none', async (t) => {
  const root = testDirectory(t);
  mkdirSync(join(root, 'empty'));
  const nowhere = await runInspect(join(root, 'nowhere'));
  t.equal(nowhere.code, 1);
  t.match(nowhere.output, /^holdfast: the queue in .*nowhere cannot be opened: there is no data.mdb/);
  t.equal((await runInspect(join(root, 'empty'))).code, 1);
  const path = join(root, 'queue');
  await (await makeQueue(path)).close();
  truncateSync(join(path, 'data.mdb'), 20_000);
  const cut = await runInspect(path);
  t.equal(cut.code, 1);
  t.match(cut.output, /data.mdb is damaged: /);
});

void test('the walk goes on over many chunks of keys', async (t) => {
  const path = join(testDirectory(t), 'queue');
  const queue = Queue.open(path, queueOptions());
  for (let round = 0; round < 5; round++) {
    await queue.append(Array.from({ length: 500 }, (_, batch) => makeBatch([round * 500 + batch])));
  }
  await queue.close();
  const inspection: Inspection = await inspectQueue(path);
  t.equal(inspection.waiting.batches, 2_500);
  t.equal(inspection.waiting.records, 2_500);
});
