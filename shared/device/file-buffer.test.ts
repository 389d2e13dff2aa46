import { spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { test } from 'tap';
import { FRAME_HEADER_BYTES, frameSeq } from '../device-frames.js';
import { packagePath } from '../paths.js';
import { MemoryBuffer, type RecordBuffer } from './buffer.js';
import { FileBuffer } from './file-buffer.js';
import { testDirectory } from '../../test/support/directory.js';

const MAX_BYTES = 1024 * 1024;

function open(directory: string, maxBytes = MAX_BYTES): FileBuffer {
  return new FileBuffer({ directory, maxBytes, sync: false });
}

/** Everything that is open, read as a device reads it. */
function readAll(buffer: RecordBuffer, maxBytes = 1000): Buffer[] {
  const frames: Buffer[] = [];
  for (let after = buffer.acked; ;) {
    const some = buffer.read(after, maxBytes, 40);
    if (some.length === 0) return frames;
    frames.push(...some);
    after = frameSeq(some.at(-1)!);
  }
}

function seqs(buffer: RecordBuffer): number[] {
  return readAll(buffer).map(frameSeq);
}

function range(from: number, to: number): number[] {
  return Array.from({ length: Math.max(0, to - from + 1) }, (_, index) => from + index);
}

function payloadOf(seq: number): Buffer {
  return Buffer.from(JSON.stringify('x'.repeat((seq * 37) % 3000)));
}

function fill(buffer: RecordBuffer, count: number): void {
  for (let i = 0; i < count; i++) {
    const seq = buffer.lastSeq + 1;
    buffer.append('telemetry', seq * 1000, payloadOf(seq));
  }
}

function logs(directory: string): string[] {
  return readdirSync(directory)
    .filter((name) => name.endsWith('.log'))
    .sort()
    .map((name) => join(directory, name));
}

void test('records outlive the process, with their seq, time and bytes', (t) => {
  const directory = testDirectory(t);
  const first = open(directory);
  fill(first, 20);
  first.ack(5);
  t.ok(first.drop(8));
  first.close();

  const second = open(directory);
  t.same([second.acked, second.lastSeq, second.unacked], [5, 20, 14]);
  const frames = readAll(second);
  t.same(frames.map(frameSeq), [6, 7, ...range(9, 20)]);
  for (const frame of frames) {
    const seq = frameSeq(frame);
    t.equal(frame.readDoubleLE(16), seq * 1000);
    t.same(frame.subarray(FRAME_HEADER_BYTES), payloadOf(seq));
  }
  second.close();
  t.end();
});

void test('the seq goes on where everything was acked and the log is gone', (t) => {
  const directory = testDirectory(t);
  for (let round = 0; round < 5; round++) {
    const buffer = open(directory, 64 * 1024);
    t.equal(buffer.lastSeq, round * 40);
    t.equal(buffer.unacked, 0);
    fill(buffer, 20);
    buffer.ack(buffer.lastSeq);
    fill(buffer, 20);
    buffer.ack(buffer.lastSeq);
    buffer.close();
    for (const path of logs(directory)) if (round % 2 === 0) rmSync(path);
  }
  t.end();
});

void test('files stay within the bound, send is refused there, and acks make room again', (t) => {
  const directory = testDirectory(t);
  const buffer = open(directory, 64 * 1024);
  const bytes = (): number => logs(directory).reduce((sum, path) => sum + statSync(path).size, 0);
  for (let round = 0; round < 20; round++) {
    t.throws(() => fill(buffer, 1000), { code: 'buffer_full', retry: true });
    t.ok(bytes() <= 64 * 1024, `${bytes()} bytes`);
    t.same(seqs(buffer), range(buffer.acked + 1, buffer.lastSeq));
    // Half of it, then all of it.
    buffer.ack(buffer.acked + Math.floor(buffer.unacked / 2));
    fill(buffer, 5);
    buffer.ack(buffer.lastSeq);
    t.equal(buffer.unacked, 0);
  }
  t.ok(logs(directory).length <= 2, 'what is acked is deleted');
  buffer.close();
  t.throws(() => open(testDirectory(t), 1000), { code: 'bad_config' });
  t.end();
});

void test('a log cut at any byte of its end keeps every record before the cut', (t) => {
  const directory = testDirectory(t);
  const whole = open(join(directory, 'whole'));
  const ends: number[] = [0];
  for (let seq = 1; seq <= 4; seq++) {
    whole.append('report', seq, Buffer.from(`{"n":${seq}}`));
    ends.push(statSync(logs(join(directory, 'whole'))[0]!).size);
  }
  whole.close();
  const bytes = readFileSync(logs(join(directory, 'whole'))[0]!);
  for (let length = 0; length <= bytes.length; length++) {
    const path = join(directory, `cut-${length}`);
    mkdirSync(path);
    writeFileSync(join(path, '0000000000000001.log'), bytes.subarray(0, length));
    const kept = ends.filter((end) => end <= length).length - 1;
    const buffer = open(path);
    t.equal(buffer.lastSeq, kept, `${length} bytes`);
    fill(buffer, 1);
    t.same(seqs(buffer), range(1, kept + 1), `${length} bytes, and one more record`);
    buffer.close();
    const again = open(path);
    t.same(seqs(again), range(1, kept + 1), `${length} bytes, opened again`);
    t.equal(again.damagedBytes, 0, 'a torn end is no damage');
    again.close();
  }
  t.end();
});

void test('a flipped bit costs the record that it is in and no other, and is counted', (t) => {
  const directory = testDirectory(t);
  const whole = open(join(directory, 'whole'));
  const ends: number[] = [];
  for (let seq = 1; seq <= 5; seq++) {
    whole.append('telemetry', seq, Buffer.from(`{"n":${seq}}`));
    ends.push(statSync(logs(join(directory, 'whole'))[0]!).size);
  }
  whole.close();
  const bytes = readFileSync(logs(join(directory, 'whole'))[0]!);
  for (let bit = 0; bit < bytes.length * 8; bit++) {
    const path = join(directory, `bit-${bit}`);
    mkdirSync(path);
    const damaged = Buffer.from(bytes);
    damaged[bit >> 3]! ^= 1 << (bit & 7);
    writeFileSync(join(path, '0000000000000001.log'), damaged);
    const hit = ends.findIndex((end) => bit >> 3 < end) + 1;
    const buffer = open(path);
    const expected = range(1, 5).filter((seq) => seq !== hit);
    const found = seqs(buffer);
    if (found.join() !== expected.join()) t.same(found, expected, `bit ${bit}`);
    // A damaged last record cannot be told from a torn end.
    if (hit < 5 && buffer.damagedBytes !== ends[hit - 1]! - (ends[hit - 2] ?? 0)) t.fail(`bit ${bit} is not counted`);
    buffer.ack(5);
    if (buffer.unacked !== 0) t.fail(`bit ${bit}: ${buffer.unacked} records are left`);
    buffer.close();
    rmSync(path, { recursive: true });
  }
  t.end();
});

void test('damage that comes while the buffer is open costs what it is in, and the rest is read', (t) => {
  const directory = testDirectory(t);
  const buffer = open(directory);
  fill(buffer, 10);
  const path = logs(directory)[0]!;
  const bytes = readFileSync(path);
  bytes[200]! ^= 1;
  writeFileSync(path, bytes);
  const found = seqs(buffer);
  t.equal(found.length, 9);
  t.equal(buffer.unacked, 9);
  t.ok(buffer.damagedBytes > 0);
  writeFileSync(path, bytes.subarray(0, bytes.length - 1));
  t.same(seqs(buffer), found.slice(0, -1), 'an end that went missing too');
  t.equal(buffer.unacked, 8);
  fill(buffer, 3);
  t.same(seqs(buffer).slice(-3), [11, 12, 13]);
  buffer.ack(13);
  t.equal(buffer.unacked, 0);
  buffer.close();
  t.end();
});

void test('a damaged or torn done file only leads to records being sent again', (t) => {
  const directory = testDirectory(t);
  const buffer = open(directory);
  fill(buffer, 20);
  buffer.ack(5);
  buffer.ack(10);
  buffer.close();
  const path = join(directory, 'done');
  const done = readFileSync(path);
  for (let length = 0; length <= done.length; length++) {
    writeFileSync(path, done.subarray(0, length));
    const cut = open(directory);
    t.ok([0, 5, 10].includes(cut.acked), `${length} bytes: ${cut.acked}`);
    t.same(seqs(cut), range(cut.acked + 1, 20));
    cut.close();
  }
  t.end();
});

void test('a process killed with -9 while it appends leaves every record that append returned for', async (t) => {
  const root = mkdtempSync(join(tmpdir(), 'holdfast-buffer-'));
  t.teardown(() => rmSync(root, { recursive: true }));
  const directory = join(root, 'buffer');
  for (let round = 0; round < 8; round++) {
    const child = spawn(process.execPath, [packagePath('dist', 'test', 'support', 'appender.js'), directory], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    let said = '';
    const target = 500 + round * 777;
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      said += text;
      if (said.length > target) child.kill('SIGKILL');
    });
    await once(child, 'close');
    const lines = said.split('\n').slice(0, -1);
    const last = Math.max(...lines.filter((line) => !line.startsWith('done')).map(Number));
    const done = Math.max(0, ...lines.filter((line) => line.startsWith('done')).map((line) => Number(line.slice(5))));

    const buffer = open(directory);
    t.ok(buffer.lastSeq >= last, `${buffer.lastSeq} of ${last}`);
    t.ok(buffer.acked >= done, 'what was acked is not sent again');
    t.same(seqs(buffer), range(buffer.acked + 1, buffer.lastSeq));
    for (const frame of readAll(buffer)) {
      if (!frame.subarray(FRAME_HEADER_BYTES).equals(payloadOf(frameSeq(frame)))) t.fail(`seq ${frameSeq(frame)}`);
    }
    t.equal(buffer.damagedBytes, 0);
    buffer.close();
  }
});

type Step =
  | { readonly do: 'append'; readonly size: number }
  | { readonly do: 'ack' | 'drop' | 'read'; readonly part: number }
  | { readonly do: 'reopen' };

const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 6, arbitrary: fc.record({ do: fc.constant('append' as const), size: fc.integer({ min: 0, max: 4000 }) }) },
  {
    weight: 4,
    arbitrary: fc.record({
      do: fc.constantFrom('ack' as const, 'drop' as const, 'read' as const),
      part: fc.double({ min: 0, max: 1.1, noNaN: true }),
    }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('reopen' as const) }) },
);

/** What both buffers promise, in the plainest form: the open records, by seq. */
class Model {
  readonly open = new Map<number, string>();
  last = 0;
  done = 0;
}

function assertSame(buffer: RecordBuffer, model: Model): void {
  if (buffer.lastSeq !== model.last) throw new Error(`last seq ${buffer.lastSeq}, not ${model.last}`);
  if (buffer.unacked !== model.open.size) throw new Error(`${buffer.unacked} unacked, not ${model.open.size}`);
  const lowest = Math.min(model.last + 1, ...model.open.keys());
  if (buffer.acked !== lowest - 1) throw new Error(`acked ${buffer.acked}, the lowest open is ${lowest}`);
}

function run(buffer: RecordBuffer, steps: readonly Step[], reopen: (old: RecordBuffer) => RecordBuffer): RecordBuffer {
  const model = new Model();
  for (const now of steps) {
    const seq = now.do === 'append' || now.do === 'reopen' ? 0 : Math.floor(now.part * (model.last + 1));
    switch (now.do) {
      case 'append': {
        const text = JSON.stringify('y'.repeat(now.size));
        buffer.append('result', 1, Buffer.from(text));
        model.open.set(++model.last, text);
        break;
      }
      case 'ack':
        buffer.ack(seq);
        for (const key of [...model.open.keys()]) if (key <= seq) model.open.delete(key);
        break;
      case 'drop':
        if (buffer.drop(seq) !== model.open.delete(seq)) throw new Error(`drop(${seq})`);
        break;
      case 'read': {
        const frames = buffer.read(seq, 5000, 40);
        const expected = [...model.open.keys()].filter((key) => key > seq).slice(0, frames.length);
        if (frames.map(frameSeq).join() !== expected.join()) throw new Error(`read(${seq}): ${expected.join()}`);
        if (frames.length === 0 && [...model.open.keys()].some((key) => key > seq)) throw new Error('nothing read');
        const size = frames.reduce((sum, frame) => sum + frame.length + 40, 0);
        if (frames.length > 1 && size > 5000) throw new Error(`${size} bytes read`);
        break;
      }
      case 'reopen':
        buffer = reopen(buffer);
        break;
    }
    assertSame(buffer, model);
  }
  const texts = readAll(buffer).map((frame) => frame.toString('utf8', FRAME_HEADER_BYTES));
  if (texts.join() !== [...model.open.values()].join()) throw new Error('the open records differ');
  return buffer;
}

void test('the file buffer keeps what a plain model keeps, through every mix of steps and reopens', (t) => {
  const root = testDirectory(t);
  let count = 0;
  fc.assert(
    fc.property(fc.array(step, { maxLength: 150 }), (steps) => {
      const directory = join(root, `run-${count++}`);
      const reopen = (old: RecordBuffer): RecordBuffer => {
        old.close();
        return open(directory);
      };
      run(open(directory), steps, reopen).close();
      rmSync(directory, { recursive: true });
    }),
    { numRuns: 150 },
  );
  t.end();
});

void test('the memory buffer keeps what a plain model keeps', (t) => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 400 }), (steps) => {
      run(new MemoryBuffer({ maxBytes: 1e9, maxRecords: 1e9 }), steps, (old) => old).close();
    }),
    { numRuns: 300 },
  );
  t.end();
});

void test('the memory buffer holds its bounds and stays small over a long life', (t) => {
  const buffer = new MemoryBuffer({ maxBytes: 1000, maxRecords: 3 });
  const payload = Buffer.from('{"n":1}');
  for (let i = 0; i < 3; i++) buffer.append('telemetry', 1, payload);
  t.throws(() => buffer.append('telemetry', 1, payload), { code: 'buffer_full' });
  buffer.ack(1);
  t.throws(() => buffer.append('telemetry', 1, Buffer.alloc(1000)), { code: 'buffer_full' });
  for (let seq = 4; seq < 20_000; seq++) {
    buffer.append('telemetry', 1, payload);
    buffer.ack(seq - 1);
  }
  t.same(seqs(buffer), [19_999]);
  t.end();
});

void test('a copy of the directory taken at any moment opens', (t) => {
  const directory = testDirectory(t);
  const buffer = open(join(directory, 'live'), 64 * 1024);
  for (let round = 0; round < 100; round++) {
    fill(buffer, 3);
    buffer.ack(buffer.lastSeq - 4);
    const copy = join(directory, `copy-${round}`);
    mkdirSync(copy);
    for (const name of readdirSync(join(directory, 'live'))) {
      copyFileSync(join(directory, 'live', name), join(copy, name));
    }
    const other = open(copy, 64 * 1024);
    t.same(seqs(other), seqs(buffer));
    other.close();
  }
  buffer.close();
  t.end();
});
