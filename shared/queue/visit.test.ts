import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { statSync, truncateSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { test } from 'tap';
import { queueOptions, readAll, seqsOf } from '../../test/support/batches.js';
import { testDirectory } from '../../test/support/directory.js';
import { until } from '../../test/support/processes.js';
import { straceMissing } from '../../test/support/strace.js';
import { packagePath } from '../paths.js';
import { START } from '../position.js';
import { Lock } from './lock.js';
import { Queue } from './queue.js';
import { visitQueue } from './visit.js';
import { readVisitorKey, VISITOR_KEY_BYTES } from './visitor-key.js';

const WRITER = packagePath('dist', 'test', 'support', 'queue-writer.js');
const VISITOR = packagePath('dist', 'test', 'support', 'queue-visitor.js');
const VISITS = 40;
/** Between what LMDB reads of the file and what it writes into shared memory it maps the file: there is time for commits. */
const DELAY_MICROSECONDS = 5_000;

/** A process that appends; `last` is the last seq that it was acked. */
function startWriter(path: string): { child: ChildProcess; last: () => number } {
  const child = spawn(process.execPath, [WRITER, path, 'append', String(2 ** 33)], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let last = 0;
  createInterface({ input: child.stdout }).on('line', (line) => {
    last = Math.max(last, Number(line.split(' ')[2] ?? 0));
  });
  return { child, last: () => last };
}

const PROMISE = 'a queue that is opened again and again by another process loses no commit of its writer';
void test(PROMISE, { skip: straceMissing() ?? false }, async (t) => {
  const path = testDirectory(t);
  const { child, last } = startWriter(path);
  const closed = once(child, 'close');
  await until(() => last() > 0);
  const slowed = ['-f', '-qq', '-o', '/dev/null', '-P', join(path, 'data.mdb')];
  const delay = ['-e', `inject=mmap:delay_exit=${DELAY_MICROSECONDS}`];
  const visitor = spawn('strace', [...slowed, ...delay, process.execPath, VISITOR, path, String(VISITS)], {
    stdio: 'inherit',
  });
  t.same(await once(visitor, 'exit'), [0, null]);
  t.equal(child.exitCode, null, 'the writer is at work: a transaction that is disturbed can fail, too');
  child.kill('SIGKILL');
  await closed;
  const reader = await visitQueue(path);
  const seqs = readAll(reader).flatMap(seqsOf);
  await reader.close();
  t.ok(seqs.length >= last(), `${last()} were acked`);
  const holes = seqs.filter((seq, index) => seq !== index + 1).length;
  t.equal(holes, 0, 'every seq is there, in order');
});

void test('a writer goes on when its visitor has gone, and not before', async (t) => {
  const queue = Queue.open(testDirectory(t), queueOptions());
  t.teardown(() => queue.close());
  const visitor = connect({ path: Lock.nameOf(queue.path) });
  visitor.write(readVisitorKey(queue.path)!);
  await once(visitor, 'data');
  let isCommitted = false;
  const commit = queue.removePosition('none').then(() => (isCommitted = true));
  // As many turns as a commit takes, and more.
  for (let round = 0; round < 50; round++) await new Promise((resolve) => setTimeout(resolve, 1));
  t.notOk(isCommitted, 'nothing is committed beside a visitor');
  visitor.destroy();
  await commit;
  t.same(queue.head, START);
});

void test('a queue without a writer is opened under its lock, which is free again afterwards', async (t) => {
  const path = testDirectory(t);
  await Queue.open(path, queueOptions()).close();
  const reader = await visitQueue(path);
  t.notOk(Lock.isTaken(path));
  await reader.close();
  await t.rejects(visitQueue(`${path}/none`), { code: 'queue_unreadable' });
});

void test('a writer keeps still for nobody who does not have its key, which only its user can read', async (t) => {
  const queue = Queue.open(testDirectory(t), queueOptions());
  t.teardown(() => queue.close());
  const key = readVisitorKey(queue.path)!;
  t.equal(statSync(join(queue.path, 'visitor.key')).mode & 0o777, 0o600);
  const almost = Buffer.from(key);
  almost[VISITOR_KEY_BYTES - 1]! ^= 1;
  const longer = Buffer.concat([key, Buffer.of(0)]);
  for (const shown of [almost, longer, Buffer.alloc(0)]) {
    const visitor = connect({ path: Lock.nameOf(queue.path) });
    const welcome: Buffer[] = [];
    visitor.on('data', (chunk) => welcome.push(chunk));
    visitor.on('error', () => undefined);
    const closed = new Promise((resolve) => visitor.once('close', resolve));
    visitor.write(shown);
    await queue.removePosition('none');
    await closed;
    t.same(welcome, []);
  }
});

void test('a key that a crash has cut short is made anew, and a whole one stays', async (t) => {
  const path = testDirectory(t);
  await Queue.open(path, queueOptions()).close();
  const key = readVisitorKey(path)!;
  await Queue.open(path, queueOptions()).close();
  t.same(readVisitorKey(path), key);
  truncateSync(join(path, 'visitor.key'), 7);
  t.equal(readVisitorKey(path), undefined);
  await Queue.open(path, queueOptions()).close();
  t.equal(readVisitorKey(path)?.length, VISITOR_KEY_BYTES);
  await (await visitQueue(path)).close();
});
