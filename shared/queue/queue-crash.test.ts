import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { test } from 'tap';
import { makeBatch, queueOptions, readAll, seqsOf } from '../../test/support/batches.js';
import { readBatchHeader } from '../batch.js';
import type { HoldfastError } from '../errors.js';
import { packagePath } from '../paths.js';
import { formatPosition } from '../position.js';
import { Queue } from './queue.js';
import { QueueReader } from './reader.js';
import { testDirectory } from '../../test/support/directory.js';

const WRITER = packagePath('dist', 'test', 'support', 'queue-writer.js');

/** A queue-writer and what it has printed. */
class Writer {
  readonly lines: string[] = [];
  errors = '';
  readonly ended: Promise<unknown>;
  readonly child: ChildProcess;

  constructor(words: readonly string[], launcher: readonly string[] = []) {
    const [command, ...rest] = [...launcher, process.execPath, WRITER, ...words] as [string, ...string[]];
    const child = spawn(command, rest, { stdio: ['ignore', 'pipe', 'pipe'] });
    child.stderr.on('data', (chunk: Buffer) => (this.errors += chunk.toString()));
    createInterface({ input: child.stdout }).on('line', (line) => this.lines.push(line));
    this.child = child;
    this.ended = once(child, 'close');
  }

  async untilLines(count: number): Promise<void> {
    while (this.lines.length < count && this.child.exitCode === null) await sleep(1);
  }

  async kill(): Promise<void> {
    this.child.kill('SIGKILL');
    await this.ended;
  }

  /** What was acked: position → first and last seq. */
  get acked(): Map<string, readonly [first: number, last: number]> {
    const appends = this.lines.slice(1).map((line) => line.split(' '));
    return new Map(appends.map(([position, first, last]) => [position!, [Number(first), Number(last)]]));
  }
}

void test('what was acked is there after kill -9, in order and without a gap, at any moment', async (t) => {
  const path = testDirectory(t);
  const acked = new Map<string, readonly [first: number, last: number]>();
  for (let kill = 0; kill < 20; kill++) {
    const writer = new Writer([path, 'append']);
    // The first lines, the middle of a commit, and while it opens.
    await writer.untilLines(Math.floor(Math.random() * 25));
    await sleep(Math.random() * 8);
    await writer.kill();
    for (const [position, seqs] of writer.acked) acked.set(position, seqs);
    t.equal(writer.errors, '');
  }
  const queue = Queue.open(path, queueOptions());
  const batches = readAll(queue);
  const seqs = batches.flatMap(seqsOf);
  t.ok(
    seqs.every((seq, index) => seq === index + 1),
    'every seq once, in order, without a gap',
  );
  t.ok(
    batches.every((batch, index) => readBatchHeader(batch).position.offset === index + 1),
    'offsets count on through every kill',
  );
  const lastSeqAt = new Map(
    batches.map((batch) => [formatPosition(readBatchHeader(batch).position), seqsOf(batch).at(-1)]),
  );
  const missing = [...acked].filter(([position, [, last]]) => lastSeqAt.get(position) !== last);
  t.strictSame(missing, [], 'every position that was printed holds what was printed');
  t.ok(acked.size > 50, `${acked.size} appends were acked`);
  t.equal(
    queue.position('source/writer')?.offset,
    seqs.length,
    'the position given with an append is of the same append',
  );
  t.equal(queue.stats().records, seqs.length);
  await queue.close();
});

void test('a position set with an append is never on disk without it, nor it without the position', async (t) => {
  const path = testDirectory(t);
  for (let kill = 0; kill < 8; kill++) {
    const writer = new Writer([path, 'cycle']);
    await writer.untilLines(1 + Math.floor(Math.random() * 80));
    await writer.kill();
    // A reader takes no epoch: it sees what the kill left.
    const reader = QueueReader.open(path);
    const last = readAll(reader).at(-1);
    t.equal(reader.position('source/writer')?.offset, last === undefined ? undefined : seqsOf(last).at(-1));
    if (last !== undefined) t.strictSame(reader.head, readBatchHeader(last).position);
    await reader.close();
  }
});

void test('a second process cannot open a queue that has a writer, and can when that was killed', async (t) => {
  const path = testDirectory(t);
  const first = new Writer([path, 'append']);
  await first.untilLines(3);
  const second = new Writer([path, 'append']);
  await second.ended;
  t.not(second.child.exitCode, 0);
  t.match(second.errors, /queue_locked/);
  t.match(second.errors, /is at work in another process/);
  t.throws(() => Queue.open(path, queueOptions()), { code: 'queue_locked', retry: true });
  await first.untilLines(first.lines.length + 2);
  t.equal(first.child.exitCode, null, 'the first one goes on');
  await first.kill();
  const queue = Queue.open(path, queueOptions());
  t.ok(readAll(queue).length >= first.acked.size);
  t.throws(() => Queue.open(path, queueOptions()), { code: 'queue_locked' }, 'not twice in one process either');
  await queue.close();
});

/** True where the command ends with 0: it is there and may do what it does. */
async function isPossible(command: string, words: readonly string[]): Promise<boolean> {
  const child = spawn(command, words, { stdio: 'ignore' });
  return Promise.race([once(child, 'exit').then(([code]) => code === 0), once(child, 'error').then(() => false)]);
}

// unshare gives the other writer a network namespace of its own, as a container has, and so other abstract sockets.
const APART = ['unshare', '--net', '--map-root-user'] as const;
const noNamespace = (await isPossible(APART[0], [...APART.slice(1), 'true'])) ? false : 'no namespace can be made here';

void test(
  'where the lock does not reach, the overtaken writer cannot commit any more',
  { skip: noNamespace },
  async (t) => {
    const path = testDirectory(t);
    const failures: HoldfastError[] = [];
    const first = Queue.open(path, queueOptions({ onFailure: (error) => failures.push(error) }));
    await first.append([makeBatch([1])], [['source/writer', { epoch: 1, offset: 1 }]]);
    const second = new Writer([path, 'append'], APART);
    await second.untilLines(5);
    await t.rejects(first.append([makeBatch([99])], [['source/writer', { epoch: 1, offset: 99 }]]), { code: 'fenced' });
    await t.rejects(first.append([makeBatch([99])]), { code: 'queue_closed' });
    t.match(failures, [{ code: 'fenced', message: /was refused: another process has opened the queue since/ }]);
    await second.untilLines(second.lines.length + 5);
    await second.kill();
    await first.close();
    const queue = Queue.open(path, queueOptions());
    const seqs = readAll(queue).flatMap(seqsOf);
    t.ok(seqs.every((seq, index) => seq === index + 1));
    t.equal(queue.position('source/writer')?.offset, seqs.length, 'the two were not mixed');
    await queue.close();
  },
);

void test(
  'a second writer that finds the file changing says that somebody writes',
  { skip: noNamespace },
  async (t) => {
    const path = testDirectory(t);
    const first = new Writer([path, 'cycle']);
    await first.untilLines(50);
    const second = new Writer([path, 'cycle'], APART);
    await Promise.race([first.ended, second.ended]);
    t.notMatch(second.errors, /queue_unreadable/, 'and does not call it damaged');
    t.match(first.errors + second.errors, /queue_locked|fenced/, 'one of them ends, in words');
    await first.kill();
    await second.kill();
  },
);

const noLimit = (await isPossible('prlimit', ['--fsize=1000000', 'true'])) ? false : 'there is no prlimit here';

void test(
  'a commit that fails ends the process with its own exit code, all that was acked is there',
  { skip: noLimit },
  async (t) => {
    const path = testDirectory(t);
    // The size limit of a file makes LMDB's write fail as a full disk would.
    const writer = new Writer([path, 'append'], ['prlimit', '--fsize=2000000']);
    await writer.ended;
    t.equal(writer.child.exitCode, 17, 'onFailure decides, nothing crashes before');
    t.equal(writer.errors.split('commit_failed').length, 2, 'it is called once');
    const queue = Queue.open(path, queueOptions());
    const seqs = readAll(queue).flatMap(seqsOf);
    const lastAcked = [...writer.acked.values()].at(-1)![1];
    t.ok(seqs.length >= lastAcked, `${seqs.length} are there, ${lastAcked} were acked`);
    t.ok(seqs.every((seq, index) => seq === index + 1));
    t.equal((await queue.append([makeBatch([1])])).offset, readAll(queue).length, 'and it goes on');
    await queue.close();
  },
);
