import { execFile } from 'node:child_process';
import { cpSync, existsSync, readdirSync, readFileSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'tap';
import { damagePayload, makeBatch, queueOptions, readAll, seqsOf } from '../../test/support/batches.js';
import type { Opened } from '../../test/support/queue-opener.js';
import { checkBatch, readBatchHeader } from '../batch.js';
import { messageOf } from '../errors.js';
import { packagePath } from '../paths.js';
import { encodePosition, START } from '../position.js';
import { Queue } from './queue.js';
import { QueueReader } from './reader.js';
import { testDirectory } from '../../test/support/directory.js';

const OPENER = packagePath('dist', 'test', 'support', 'queue-opener.js');
const PAGE_BYTES = 4096;
const LAST_SEQ = 80;

/** Opens directories in a process of their own, which damage may end. */
async function openApart(paths: readonly string[]): Promise<Map<string, Opened>> {
  const output = await new Promise<string>((resolve) => {
    execFile(process.execPath, [OPENER, ...paths], { maxBuffer: 2 ** 26 }, (error, stdout, stderr) => {
      resolve(error === null ? stdout : `${stdout}\n${stderr}`);
    });
  });
  const lines = output.split('\n').filter((line) => line.startsWith('{"path"'));
  return new Map(lines.map((line) => JSON.parse(line) as Opened).map((opened) => [opened.path, opened]));
}

/** A queue of small and large batches, seq 1 to LAST_SEQ, the first ten released and deleted. */
async function makeQueue(path: string): Promise<void> {
  const queue = Queue.open(path, queueOptions());
  for (let seq = 1; seq <= LAST_SEQ; seq++) {
    await queue.append([makeBatch([seq], seq % 3 === 0 ? 20_000 : 300)], [['source/a', { epoch: 1, offset: seq }]]);
    if (seq === 40) queue.release({ ...queue.head, offset: 10 });
  }
  await queue.close();
}

void test('a batch with a flipped bit goes to quarantine and is counted; the rest flows', async (t) => {
  const path = join(testDirectory(t), 'queue');
  await makeQueue(path);
  for (const seq of [21, 50]) damagePayload(path, seq);
  const queue = Queue.open(path, queueOptions());
  const before = queue.stats();
  const expected = Array.from({ length: 70 }, (_, index) => index + 11).filter((seq) => seq !== 21 && seq !== 50);
  t.strictSame(readAll(queue).flatMap(seqsOf), expected);
  t.strictSame(readAll(queue).flatMap(seqsOf), expected, 'and again, while they are on their way out');
  t.match(queue.stats(), { records: before.records - 2, quarantined: 2 });
  const files = readdirSync(join(path, 'quarantine'));
  t.equal(files.length, 2);
  for (const name of files) {
    const value = readFileSync(join(path, 'quarantine', name));
    t.throws(() => checkBatch(value), { code: 'bad_batch' }, 'as it was found');
    const { epoch, offset } = readBatchHeader(value).position;
    t.equal(name, `${epoch}-${offset}.batch`);
  }
  queue.release(queue.head);
  t.match(queue.stats(), { records: 0, bytes: 0 }, 'what was set aside is not counted twice');
  await queue.append([makeBatch([LAST_SEQ + 1])]);
  await queue.close();
  const again = Queue.open(path, queueOptions());
  t.match(again.stats(), { records: 1, quarantined: 2, retainedBytes: 0 });
  await again.close();
});

void test('a damaged batch that is set aside by two readers and released meanwhile is counted once', async (t) => {
  const path = join(testDirectory(t), 'queue');
  await makeQueue(path);
  damagePayload(path, 20);
  const queue = Queue.open(path, queueOptions({ retainBytes: 1_000_000 }));
  const [damaged] = queue.peek(START, 2 ** 24).damaged;
  queue.quarantine(damaged!);
  queue.release({ ...damaged!, offset: damaged!.offset + 5 });
  queue.quarantine(damaged!);
  const all = readAll(queue);
  const isReleased = (batch: Buffer): boolean => readBatchHeader(batch).position.offset <= damaged!.offset + 5;
  const sum = (batches: readonly Buffer[]): number => batches.reduce((bytes, batch) => bytes + batch.length, 0);
  t.match(queue.stats(), {
    quarantined: 1,
    bytes: sum(all.filter((batch) => !isReleased(batch))),
    retainedBytes: sum(all.filter(isReleased)),
  });
  await queue.close();
});

void test('a queue whose data.mdb is gone, empty or that of another queue is not taken for an empty one', async (t) => {
  const root = testDirectory(t);
  const path = join(root, 'queue');
  const other = join(root, 'other');
  await makeQueue(path);
  await makeQueue(other);
  const file = join(path, 'data.mdb');
  const data = readFileSync(file);
  const refused = (what: RegExp): void => {
    t.throws(() => Queue.open(path, queueOptions()), { code: 'queue_unreadable', message: what, retry: false });
    t.throws(
      () => Queue.open(path, queueOptions()),
      { message: /restore the directory from a copy/ },
      'nothing was changed',
    );
  };
  rmSync(file);
  refused(/queue.json is there but data.mdb is missing or empty/);
  t.notOk(existsSync(file));
  writeFileSync(file, '');
  refused(/missing or empty/);
  t.equal(statSync(file).size, 0);
  writeFileSync(file, readFileSync(join(other, 'data.mdb')));
  refused(/queue.json names queue .*, data.mdb holds/);
  writeFileSync(join(path, 'queue.json'), 'no JSON');
  writeFileSync(file, data);
  refused(/JSON/);
  await t.rejects(
    Promise.resolve().then(() => QueueReader.open(join(root, 'nowhere'))),
    { code: 'queue_unreadable' },
  );
  t.end();
});

/** Changes one byte in every copy of `text` that lies in a file, also in pages that are free by now. */
function tamper(file: string, text: Buffer, index: number, bits: number): void {
  const data = readFileSync(file);
  let found = 0;
  for (let at = data.indexOf(text); at >= 0; at = data.indexOf(text, at + 1)) {
    data[at + index]! ^= bits;
    found++;
  }
  if (found === 0) throw new Error('there is nothing to tamper with');
  writeFileSync(file, data);
}

void test('a position that was tampered with is refused: it could drop what was never sent', async (t) => {
  const path = join(testDirectory(t), 'queue');
  await makeQueue(path);
  const reader = QueueReader.open(path);
  const released = reader.position('released')!;
  await reader.close();
  t.equal(released.offset, 10);
  // 10 becomes 11: a position as good as any.
  const name = Buffer.from('released');
  tamper(join(path, 'data.mdb'), Buffer.concat([name, encodePosition(released)]), name.length + 14, 0x02);
  const { code, message } = (await openApart([path])).get(path)!;
  t.equal(code, 'queue_unreadable');
  t.match(message, /the position "released" in the queue is damaged/);
});

void test('a key that was tampered with is refused: it could hide the batches behind it', async (t) => {
  const path = join(testDirectory(t), 'queue');
  await makeQueue(path);
  const reader = QueueReader.open(path);
  const keys = [...reader.keys(START)];
  await reader.close();
  const key = keys[30]!.key.subarray(0, 16);
  // A bit of the exponent of its offset: it would be read as far away, in the middle of the others.
  tamper(join(path, 'data.mdb'), key, 8, 0x04);
  const { code, message } = (await openApart([path])).get(path)!;
  t.equal(code, 'queue_unreadable');
  t.match(message, /the keys of page \d+ are out of order/);
});

/** What may have happened to a file, and what is left of it. */
const damages: Readonly<Record<string, (data: Buffer, random: () => number) => Buffer>> = {
  'cut off': (data, random) => data.subarray(0, Math.floor(random() * data.length)),
  'cut off at a page': (data, random) =>
    data.subarray(0, Math.floor((random() * data.length) / PAGE_BYTES) * PAGE_BYTES),
  'a meta page of zeros': (data, random) =>
    random() < 0.5 ? data.fill(0, 0, PAGE_BYTES) : data.fill(0, PAGE_BYTES, 2 * PAGE_BYTES),
  'only zeros': (data) => data.fill(0),
  'only noise': (data, random) => {
    for (let at = 0; at < data.length; at++) data[at] = Math.floor(random() * 256);
    return data;
  },
};

void test('a file that is cut off, emptied or overwritten is refused in words, and nothing crashes', async (t) => {
  const root = testDirectory(t);
  const whole = join(root, 'whole');
  await makeQueue(whole);
  const cases: [path: string, name: string][] = [];
  for (const [name, damage] of Object.entries(damages)) {
    for (let round = 0; round < 8; round++) {
      const path = join(root, `${name}-${round}`);
      cpSync(whole, path, { recursive: true });
      const data = readFileSync(join(path, 'data.mdb'));
      writeFileSync(join(path, 'data.mdb'), damage(data, Math.random));
      if (statSync(join(path, 'data.mdb')).size < data.length - 20 * PAGE_BYTES || !name.startsWith('cut')) {
        cases.push([path, name]);
      }
    }
  }
  const opened = await openApart(cases.map(([path]) => path));
  for (const [path, name] of cases) {
    t.equal(opened.get(path)?.code, 'queue_unreadable', `${name}: ${opened.get(path)?.message ?? 'the process ended'}`);
  }
});

void test('whatever single bit, sector or page of data.mdb is damaged, nothing acked is lost in silence', async (t) => {
  const root = testDirectory(t);
  const whole = join(root, 'whole');
  await makeQueue(whole);
  const good = readFileSync(join(whole, 'data.mdb'));
  const pages = good.length / PAGE_BYTES;
  const paths: string[] = [];
  for (let round = 0; round < 150; round++) {
    const path = join(root, `${round}`);
    cpSync(whole, path, { recursive: true });
    const data = Buffer.from(good);
    const at = Math.floor(Math.random() * pages) * PAGE_BYTES;
    if (round % 3 === 0) data[Math.floor(Math.random() * data.length)]! ^= 1 << Math.floor(Math.random() * 8);
    // Headers and entries of pages are where a flip hurts most.
    else if (round % 3 === 1) data[at + Math.floor(Math.random() * 64)]! ^= 1 << Math.floor(Math.random() * 8);
    else data.fill(round % 2 === 0 ? 0 : 0xa5, at, at + (round % 4 < 2 ? 512 : PAGE_BYTES));
    writeFileSync(join(path, 'data.mdb'), data);
    paths.push(path);
  }
  const opened = await openApart(paths);
  let refused = 0;
  for (const path of paths) {
    const result = opened.get(path);
    if (result === undefined) t.fail(`${path}: the process ended`);
    else if (result.code !== undefined) {
      t.equal(result.code, 'queue_unreadable');
      refused++;
    } else {
      const missing = LAST_SEQ - 10 - result.seqs.length;
      const isWhole = result.seqs.every((seq, index, all) => index === 0 || seq > all[index - 1]!);
      if (missing !== result.quarantined || !isWhole)
        t.fail(`${path}: ${missing} missing, ${result.quarantined} set aside`);
    }
  }
  t.ok(refused > 10 && refused < 140, `${refused} of ${paths.length} were refused, the others hold everything`);
});

void test('a file that lacks free pages at its end is whole', async (t) => {
  const path = join(testDirectory(t), 'queue');
  const queue = Queue.open(path, queueOptions());
  for (let seq = 1; seq <= 20; seq++) await queue.append([makeBatch([seq], 100_000)]);
  queue.release(queue.head);
  for (let seq = 21; seq <= 24; seq++) await queue.append([makeBatch([seq])]);
  await queue.close();
  const file = join(path, 'data.mdb');
  const { size } = statSync(file);
  let shortest = size;
  for (let bytes = size - PAGE_BYTES; bytes > size / 2; bytes -= PAGE_BYTES) {
    truncateSync(file, bytes);
    try {
      const reader = QueueReader.open(path);
      t.equal(readAll(reader).length, 4);
      await reader.close();
      shortest = bytes;
    } catch (error) {
      t.match(messageOf(error), /is not in a file of|do not hold a value/);
      break;
    }
  }
  t.ok(shortest < size, `${size} bytes, of which ${shortest} are used`);
});
