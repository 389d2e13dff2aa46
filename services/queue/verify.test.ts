import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { test } from 'tap';
import { damagePayload, makeBatch, queueOptions } from '../../test/support/batches.js';
import { TestEdge } from '../../test/support/edge.js';
import { runHoldfast } from '../../test/support/holdfast.js';
import { packagePath } from '../../shared/paths.js';
import { formatPosition } from '../../shared/position.js';
import { Lock } from '../../shared/queue/lock.js';
import { Queue } from '../../shared/queue/queue.js';
import { openStore } from '../../shared/queue/store.js';
import { inspectQueue, type Inspection } from './inspect.js';
import { Progress } from './progress.js';
import { verifyQueue, type Verification } from './verify.js';
import { testDirectory } from '../../test/support/directory.js';

const silent = (totalBytes: number): Progress => new Progress(process.stderr, false, '', totalBytes);

async function verify(path: string): Promise<{ code: number; verification: Verification }> {
  const { code, stdout, stderr } = await runHoldfast(['queue', 'verify', path, '--json']);
  if (stdout === '') throw new Error(stderr);
  return { code, verification: JSON.parse(stdout) as Verification };
}

/** Batches of one record, with seqs from 1. */
async function makeQueue(path: string, batches: number): Promise<Queue> {
  const queue = Queue.open(path, queueOptions());
  for (let seq = 1; seq <= batches; seq++) await queue.append([makeBatch([seq], 100)]);
  return queue;
}

void test('a whole queue is said to be whole', async (t) => {
  const path = join(testDirectory(t), 'queue');
  const queue = await makeQueue(path, 20);
  await queue.close();
  const { code, verification } = await verify(path);
  t.equal(code, 0);
  t.match(verification, { queueId: queue.id, batches: 20, records: 20, quarantined: [], problems: [] });
});

void test('every damaged batch is named by its position, and the exit code is 1', async (t) => {
  const path = join(testDirectory(t), 'queue');
  const queue = await makeQueue(path, 20);
  await queue.close();
  for (const seq of [13, 17]) damagePayload(path, seq);
  const damaged = [13, 17].map((offset) => formatPosition({ ...queue.head, offset }));
  const { code, verification } = await verify(path);
  t.equal(code, 1);
  t.strictSame(
    verification.problems.map(({ position }) => position),
    damaged,
  );
  const { code: again, stdout } = await runHoldfast(['queue', 'verify', path]);
  t.equal(again, 1);
  t.match(stdout, `${damaged[0]!}  not a batch: its checksum does not match its bytes\n`);
  t.match(stdout, ': 2 problems\n');

  // The service sets them aside: from then on they are known, and the queue is whole but for them.
  const opened = Queue.open(path, queueOptions());
  opened.peek({ epoch: 0, offset: 0 }, 2 ** 20);
  await opened.close();
  const after = await verify(path);
  t.equal(after.code, 0);
  t.strictSame(after.verification.quarantined.toSorted(), damaged);
});

void test('a batch that is missing between two others is noticed', async (t) => {
  const path = join(testDirectory(t), 'queue');
  const queue = await makeQueue(path, 5);
  const head = queue.head;
  await queue.close();
  const lock = Lock.take(path);
  const store = openStore(path, 'write', 2 ** 28);
  for (const key of [...store.batches.getKeys()]) {
    if (key.readDoubleBE(8) === 3) await store.batches.remove(key);
  }
  await store.root.close();
  lock.release();
  const { code, verification } = await verify(path);
  t.equal(code, 1);
  const [after, next] = [2, 4].map((offset) => formatPosition({ ...head, offset }));
  t.strictSame(verification.problems, [
    { position: next, problem: `1 batches before it are missing, after ${after!}` },
  ]);
});

void test('the queue of a running edge is inspected and verified while devices send', async (t) => {
  const edge = await TestEdge.start();
  t.teardown(() => edge.stop());
  const device = await edge.connect('press-1');
  let seq = 0;
  for (let round = 1; round <= 2; round++) {
    for (let count = 0; count < 50; count++) device.send({ seq: ++seq, data: { value: seq } });
    await device.untilAcked(seq);
    const { code, verification } = await verify(edge.queuePath);
    t.equal(code, 0);
    t.ok(verification.records >= seq, `${verification.records} records`);
  }
  const { code, stdout } = await runHoldfast(['queue', 'inspect', edge.queuePath, '--json']);
  t.equal(code, 0);
  t.match(JSON.parse(stdout) as Inspection, { damaged: [], released: '0:0' });
  await device.close();
});

void test('the queue of a writer that was killed is whole, again and again', async (t) => {
  const path = join(testDirectory(t), 'queue');
  const script = packagePath('dist', 'test', 'support', 'queue-writer.js');
  for (let round = 0; round < 3; round++) {
    const writer = spawn(process.execPath, [script, path, 'cycle'], { stdio: ['ignore', 'pipe', 'inherit'] });
    let lines = 0;
    writer.stdout.on('data', (chunk: Buffer) => (lines += chunk.toString().split('\n').length - 1));
    while (lines < 30) await sleep(5);
    // Beside the writer, which deletes what it has released while we look.
    t.strictSame((await verifyQueue(path, silent)).problems, []);
    const exit = once(writer, 'exit');
    writer.kill('SIGKILL');
    await exit;
    const { code, verification } = await verify(path);
    t.equal(code, 0);
    t.strictSame(verification.problems, []);
    t.strictSame((await inspectQueue(path)).damaged, []);
  }
});
