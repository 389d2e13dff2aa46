import { readFileSync, existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'tap';
import { damagePayload, makeBatch, queueOptions } from '../../test/support/batches.js';
import { runHoldfast } from '../../test/support/holdfast.js';
import { until } from '../../test/support/processes.js';
import { BatchBuilder, checkBatch, Kind } from '../../shared/batch.js';
import { decodeQueueId } from '../../shared/links.js';
import { formatPosition, type Position } from '../../shared/position.js';
import { Queue } from '../../shared/queue/queue.js';
import { linesOf } from './lines.js';
import type { Removal } from './release.js';
import { tailQueue, type TailOptions } from './tail.js';
import { testDirectory } from '../../test/support/directory.js';

type Line = Readonly<Record<string, unknown>>;

function batchOf(records: readonly (readonly [device: string, seq: number, payload: string, kind?: Kind])[]): Buffer {
  const builder = new BatchBuilder();
  for (const [device, seq, text, kind = Kind.telemetry] of records) {
    const payload = Buffer.from(text, 'latin1');
    builder.add(kind, Buffer.from(device), seq, 1_000 + seq, 2_000 + seq, payload, 0, payload.length);
  }
  return Buffer.from(builder.build());
}

/** 30 batches, each of a record of press-1 and one of press-2. */
async function makeQueue(path: string): Promise<Queue> {
  const queue = Queue.open(path, queueOptions({ retainBytes: 2 ** 20 }));
  for (let seq = 1; seq <= 30; seq++) {
    await queue.append([
      batchOf([
        ['press-1', seq, `{"n":${seq}}`],
        ['press-2', seq, `{"n":${-seq}}`],
      ]),
    ]);
  }
  return queue;
}

function parse(text: string): Line[] {
  return text.split('\n').flatMap((line) => (line === '' ? [] : [JSON.parse(line) as Line]));
}

void test('a record is one line with its own bytes in it, or base64 where they are no JSON', (t) => {
  const batch = batchOf([
    ['press-1', 1, '{"big": 12345678901234567890,\n "x":1}'],
    ['press-1', 2, '{"open"', Kind.report],
    ['press-1', 3, '"\xff"', Kind.result],
    ['press-1', 4, '', Kind.online],
  ]);
  const at = '"position":"0:0","device":"press-1"';
  t.strictSame(
    [...linesOf(batch)],
    [
      `{${at},"kind":"telemetry","seq":1,"time":1001,"received":2001,"data":{"big": 12345678901234567890,  "x":1}}\n`,
      `{${at},"kind":"report","seq":2,"time":1002,"received":2002,"base64":"${btoa('{"open"')}"}\n`,
      `{${at},"kind":"result","seq":3,"time":1003,"received":2003,"base64":"${btoa('"\xff"')}"}\n`,
      `{${at},"kind":"online","seq":4,"time":1004,"received":2004}\n`,
    ],
  );
  t.end();
});

void test('tail shows the newest records, of one device where it is asked for', async (t) => {
  const path = join(testDirectory(t), 'queue');
  const queue = await makeQueue(path);
  const seqs = async (...words: string[]): Promise<unknown[]> =>
    parse((await runHoldfast(['queue', 'tail', path, ...words])).stdout).map(({ seq }) => seq);
  t.strictSame(await seqs(), [26, 26, 27, 27, 28, 28, 29, 29, 30, 30]);
  t.strictSame(await seqs('--limit', '3', '--device', 'press-2'), [28, 29, 30]);
  t.strictSame(await seqs('--device', 'press-3'), []);
  await queue.close();
  t.equal((await runHoldfast(['queue', 'tail'])).code, 78);
});

void test('tail follows what is appended, each record once', async (t) => {
  const path = join(testDirectory(t), 'queue');
  const queue = await makeQueue(path);
  const stop = new AbortController();
  let text = '';
  const options: TailOptions = {
    path,
    device: 'press-1',
    limit: 2,
    follow: true,
    signal: stop.signal,
    write: (more) => {
      text += more;
      return Promise.resolve();
    },
    onDamaged: (position) => t.fail(formatPosition(position)),
  };
  const tailing = tailQueue(options);
  await until(() => text.includes('"seq":30'));
  for (let seq = 31; seq <= 40; seq++) await queue.append([batchOf([['press-1', seq, `${seq}`]])]);
  await until(() => text.includes('"seq":40'));
  stop.abort();
  await tailing;
  await queue.close();
  t.strictSame(
    parse(text).map(({ seq }) => seq),
    [29, 30, 31, 32, 33, 34, 35, 36, 37, 38, 39, 40],
  );
});

void test('an export has every record, as lines or as batches, and says what it left out', async (t) => {
  const root = testDirectory(t);
  const path = join(root, 'queue');
  const queue = await makeQueue(path);
  await queue.append([makeBatch([31], 100), makeBatch([32], 100), makeBatch([33], 100)]);
  const { id, head } = queue;
  await queue.close();
  const whole = await runHoldfast(['queue', 'export', path]);
  t.equal(whole.code, 0);
  t.equal(parse(whole.stdout).length, 63);
  t.match(whole.stderr, 'exported 63 records of 33 batches');
  const after = formatPosition({ ...head, offset: 20 });
  const part = await runHoldfast(['queue', 'export', path, '--after', after, '--device', 'press-2']);
  t.strictSame(
    parse(part.stdout).map(({ seq }) => seq),
    [21, 22, 23, 24, 25, 26, 27, 28, 29, 30],
  );

  damagePayload(path, 32);
  const file = join(root, 'all.batches');
  const words = ['queue', 'export', path, '--format', 'batches', '--out', file];
  const exported = await runHoldfast([...words, '--json']);
  t.equal(exported.code, 1);
  const damaged = formatPosition({ ...head, offset: 32 });
  t.match(JSON.parse(exported.stdout), { batches: 32, records: 62, damaged: [damaged] });
  const bytes = readFileSync(file);
  t.equal(bytes.toString('latin1', 0, 8), 'HFBATCH1');
  t.equal(decodeQueueId(bytes, 8), id);
  const offsets: number[] = [];
  for (let at = 24; at < bytes.length; at += 4 + bytes.readUInt32LE(at)) {
    offsets.push(checkBatch(bytes.subarray(at + 4, at + 4 + bytes.readUInt32LE(at))).position.offset);
  }
  t.strictSame(
    offsets,
    Array.from({ length: 33 }, (_, index) => index + 1).filter((offset) => offset !== 32),
  );
  const again = await runHoldfast(words);
  t.equal(again.code, 1);
  t.match(again.stderr, /cannot make .*EEXIST/);
});

void test('release and drop change nothing without --yes, nor beside the service', async (t) => {
  const root = testDirectory(t);
  const path = join(root, 'queue');
  const queue = await makeQueue(path);
  const through: Position = { ...queue.head, offset: 10 };
  const release = ['queue', 'release', path, '--through', formatPosition(through), '--json'];
  t.match((await runHoldfast([...release, '--yes'])).stderr, /is at work in another process/);
  t.match((await runHoldfast(['queue', 'drop', path, '--yes'])).stderr, /is at work in another process/);
  await queue.close();

  const dry = await runHoldfast(release);
  t.equal(dry.code, 1);
  t.match(JSON.parse(dry.stdout) as Removal, { done: false, lost: { batches: 10, records: 20 } });
  const late = ['queue', 'release', path, '--through', formatPosition({ ...through, offset: 31 }), '--yes'];
  t.match((await runHoldfast(late)).stderr, /is after the head/);
  t.equal((await runHoldfast([...release, '--yes'])).code, 0);
  const released = Queue.open(path, queueOptions({ retainBytes: 2 ** 20 }));
  t.strictSame(released.released, through);
  t.equal(released.records, 40);
  await released.close();

  const dryDrop = await runHoldfast(['queue', 'drop', path]);
  t.equal(dryDrop.code, 1);
  t.match(dryDrop.stdout, /would drop .*: 40 records in 20 batches.*\nnothing was changed: say --yes/);
  t.ok(existsSync(join(path, 'data.mdb')));
  writeFileSync(join(path, 'notes.txt'), 'not of the queue');
  t.equal((await runHoldfast(['queue', 'drop', path, '--yes'])).code, 0);
  t.notOk(existsSync(join(path, 'data.mdb')));
  t.ok(existsSync(join(path, 'notes.txt')), 'what is not of the queue stays');
  t.match((await runHoldfast(['queue', 'drop', path, '--yes'])).stderr, /there is no data.mdb/);
});
