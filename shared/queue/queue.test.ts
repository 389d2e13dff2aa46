import fc from 'fast-check';
import { test } from 'tap';
import { makeBatch, queueOptions, readAll, seqsOf } from '../../test/support/batches.js';
import { BATCH_HEADER_BYTES, MAX_BATCH_BYTES, readBatchHeader } from '../batch.js';
import { comparePositions, follows, START, type Position } from '../position.js';
import { Queue, type NamedPosition } from './queue.js';
import { QueueReader } from './reader.js';
import { testDirectory } from '../../test/support/directory.js';

interface Stored {
  readonly position: Position;
  readonly batch: Buffer;
  readonly records: number;
}

/** What the queue should be: arrays and a map. */
class Model {
  readonly retainBytes: number;
  stored: Stored[] = [];
  head = START;
  released = START;
  names = new Map<string, Position>();
  nextSeq = 1;
  lastEpoch = 0;

  constructor(retainBytes: number) {
    this.retainBytes = retainBytes;
  }

  get waiting(): Stored[] {
    return this.stored.filter(({ position }) => comparePositions(position, this.released) > 0);
  }

  get retained(): Stored[] {
    return this.stored.filter(({ position }) => comparePositions(position, this.released) <= 0);
  }

  /** What every transaction does at its end. */
  reclaim(): void {
    while (sumBytes(this.retained) > this.retainBytes) this.stored.shift();
  }
}

interface Real {
  queue: Queue;
  readonly path: string;
}

type Command = fc.AsyncCommand<Model, Real>;

function sumBytes(stored: readonly Stored[]): number {
  return stored.reduce((sum, { batch }) => sum + batch.length, 0);
}

/** Everything after the header, and what the header says. */
function sameBatch(real: Buffer, expected: Stored): boolean {
  const header = readBatchHeader(real);
  return (
    comparePositions(header.position, expected.position) === 0 &&
    header.records === expected.records &&
    real.subarray(BATCH_HEADER_BYTES).equals(expected.batch.subarray(BATCH_HEADER_BYTES))
  );
}

function assert(condition: boolean, what: string): void {
  if (!condition) throw new Error(what);
}

/** What is there is exactly what the model holds; what was released may still be there for a moment. */
function checkContents(model: Model, { queue }: Real): void {
  const all = readAll(queue).slice(-model.stored.length || Infinity);
  assert(all.length === model.stored.length, `${all.length} batches are there, not ${model.stored.length}`);
  model.stored.forEach((stored, index) => assert(sameBatch(all[index]!, stored), `batch ${index} is another`));
  assert(comparePositions(queue.head, model.head) === 0, 'the head is another');
  assert(comparePositions(queue.released, model.released) === 0, 'released is another');
  const stats = queue.stats();
  const waiting = model.waiting;
  assert(stats.records === waiting.reduce((sum, { records }) => sum + records, 0), `${stats.records} records counted`);
  assert(stats.bytes === sumBytes(waiting), `${stats.bytes} bytes counted, there are ${sumBytes(waiting)}`);
  assert(stats.retainedBytes >= sumBytes(model.retained), `${stats.retainedBytes} bytes counted as retained`);
  assert(stats.quarantined === 0, 'a good batch was set aside');
  for (const [name, position] of model.names) {
    assert(comparePositions(queue.position(name) ?? START, position) === 0, `position ${name} is another`);
  }
  assert(queue.positions('name/').size === model.names.size, 'there are other positions');
}

class Append implements Command {
  constructor(
    private readonly sizes: readonly (readonly [records: number, payloadBytes: number])[],
    private readonly names: readonly number[],
  ) {}

  check(): boolean {
    return true;
  }

  async run(model: Model, real: Real): Promise<void> {
    const batches = this.sizes.map(([records, payloadBytes]) => {
      const seqs = Array.from({ length: records }, () => model.nextSeq++);
      return makeBatch(seqs, payloadBytes);
    });
    const names = this.names.map((name): NamedPosition => [`name/${name}`, { epoch: 7, offset: model.nextSeq }]);
    const before = model.head;
    const head = await real.queue.append(batches, names);
    batches.forEach((batch, index) => {
      const position = { epoch: head.epoch, offset: head.offset - batches.length + 1 + index };
      model.stored.push({ position, batch: Buffer.from(batch), records: this.sizes[index]![0] });
    });
    assert(head.offset === before.offset + batches.length, 'offsets go on without a gap');
    assert(head.epoch === model.lastEpoch, 'the epoch is that of the open');
    model.head = head;
    for (const [name, position] of names) model.names.set(name.slice('name/'.length), position);
    model.reclaim();
    checkContents(renamed(model), real);
  }

  toString(): string {
    return `append(${JSON.stringify(this.sizes)}, ${JSON.stringify(this.names)})`;
  }
}

/** The model with the names as the queue knows them. */
function renamed(model: Model): Model {
  const other = Object.assign(new Model(model.retainBytes), model);
  other.names = new Map([...model.names].map(([name, position]) => [`name/${name}`, position]));
  return other;
}

class Peek implements Command {
  constructor(
    private readonly from: number,
    private readonly maxBytes: number,
  ) {}

  check(model: Model): boolean {
    return model.stored.length > 0;
  }

  run(model: Model, real: Real): Promise<void> {
    const waiting = model.stored;
    const index = this.from % waiting.length;
    const peek = real.queue.peek(waiting[index]!.position, this.maxBytes);
    let bytes = 0;
    const expected = waiting.slice(index + 1).filter(({ batch }) => {
      const fits = bytes < this.maxBytes;
      bytes += batch.length;
      return fits;
    });
    assert(peek.batches.length === expected.length, `peeked ${peek.batches.length}, not ${expected.length}`);
    expected.forEach((stored, at) => assert(sameBatch(peek.batches[at]!, stored), `peeked batch ${at} is another`));
    assert(peek.damaged.length === 0, 'a good batch counts as damaged');
    const last = expected.at(-1) ?? waiting[index]!;
    assert(comparePositions(peek.through, last.position) === 0, 'through is another');
    return Promise.resolve();
  }

  toString(): string {
    return `peek(${this.from}, ${this.maxBytes})`;
  }
}

class Release implements Command {
  constructor(private readonly to: number) {}

  check(model: Model): boolean {
    return model.stored.length > 0;
  }

  run(model: Model, real: Real): Promise<void> {
    const { position } = model.stored[this.to % model.stored.length]!;
    real.queue.release(position);
    if (comparePositions(position, model.released) > 0) model.released = position;
    checkContents(renamed(model), real);
    return Promise.resolve();
  }

  toString(): string {
    return `release(${this.to})`;
  }
}

class SetPosition implements Command {
  constructor(
    private readonly name: number,
    private readonly offset: number,
  ) {}

  check(): boolean {
    return true;
  }

  run(model: Model, real: Real): Promise<void> {
    real.queue.setPosition(`name/${this.name}`, { epoch: 8, offset: this.offset });
    model.names.set(`${this.name}`, { epoch: 8, offset: this.offset });
    checkContents(renamed(model), real);
    return Promise.resolve();
  }

  toString(): string {
    return `setPosition(${this.name}, ${this.offset})`;
  }
}

class RemovePosition implements Command {
  constructor(private readonly name: number) {}

  check(): boolean {
    return true;
  }

  async run(model: Model, real: Real): Promise<void> {
    await real.queue.removePosition(`name/${this.name}`);
    model.names.delete(`${this.name}`);
    model.reclaim();
    checkContents(renamed(model), real);
  }

  toString(): string {
    return `removePosition(${this.name})`;
  }
}

class Reopen implements Command {
  check(): boolean {
    return true;
  }

  async run(model: Model, real: Real): Promise<void> {
    const { id, path } = real.queue;
    await real.queue.close();
    const reader = QueueReader.open(path);
    const last = readAll(reader).at(-1);
    assert(last === undefined || follows(model.head, { ...model.head, offset: model.head.offset - 1 }), 'no head');
    model.reclaim();
    assert(readAll(reader).length === model.stored.length, 'what was released and not retained is gone');
    await reader.close();
    real.queue = Queue.open(path, queueOptions({ retainBytes: model.retainBytes }));
    assert(real.queue.id === id, 'the id stays');
    model.lastEpoch = await takeEpoch(real.queue, model);
    checkContents(renamed(model), real);
  }

  toString(): string {
    return 'reopen';
  }
}

/** The epoch shows with the next batch. */
async function takeEpoch(queue: Queue, model: Model): Promise<number> {
  const batch = makeBatch([model.nextSeq++]);
  const head = await queue.append([batch]);
  assert(head.epoch > model.lastEpoch && head.epoch > model.head.epoch, 'every open has a greater epoch');
  model.stored.push({ position: head, batch: Buffer.from(batch), records: 1 });
  model.head = head;
  return head.epoch;
}

void test('whatever is done to a queue, it holds what an array would hold', async (t) => {
  const size = fc.tuple(fc.integer({ min: 1, max: 5 }), fc.oneof(fc.constant(0), fc.nat(200), fc.nat(50_000)));
  const commands = fc.commands(
    [
      fc
        .tuple(fc.array(size, { minLength: 1, maxLength: 4 }), fc.uniqueArray(fc.nat(2), { maxLength: 2 }))
        .map(([sizes, names]) => new Append(sizes, names)),
      fc.tuple(fc.nat(), fc.integer({ min: 1, max: 300_000 })).map(([from, bytes]) => new Peek(from, bytes)),
      fc.nat().map((to) => new Release(to)),
      fc.tuple(fc.nat(2), fc.nat(1_000)).map(([name, offset]) => new SetPosition(name, offset)),
      fc.nat(2).map((name) => new RemovePosition(name)),
      fc.constant(new Reopen()),
    ],
    { maxCommands: 40, size: '+1' },
  );
  let run = 0;
  const root = testDirectory(t);
  const retainBytes = fc.constantFrom(0, 1_000, 100_000);
  const property = fc.asyncProperty(commands, retainBytes, async (steps, bytes) => {
    const path = `${root}/${run++}`;
    const model = new Model(bytes);
    const queue = Queue.open(path, queueOptions({ retainBytes: bytes }));
    model.lastEpoch = await takeEpoch(queue, model);
    const real: Real = { queue, path };
    try {
      await fc.asyncModelRun(() => ({ model, real }), steps);
    } finally {
      await real.queue.close();
    }
  });
  await fc.assert(property, { numRuns: 50 });
});

void test('appends that overlap are committed in order', async (t) => {
  const queue = Queue.open(testDirectory(t), queueOptions());
  const appends = Array.from({ length: 200 }, (_, index) => queue.append([makeBatch([index + 1], index * 10)]));
  const heads = await Promise.all(appends);
  t.strictSame(
    heads.map(({ offset }) => offset),
    heads.map((_, index) => index + 1),
  );
  t.strictSame(
    readAll(queue).flatMap(seqsOf),
    heads.map((_, index) => index + 1),
  );
  await queue.close();
});

void test('a batch that was peeked stays what it was when the queue reuses its pages', async (t) => {
  const queue = Queue.open(testDirectory(t), queueOptions());
  for (let seq = 1; seq <= 20; seq++) await queue.append([makeBatch([seq], 1_000), makeBatch([seq], 100_000)]);
  const peeked = queue.peek(START, 2 ** 22).batches;
  const copies = peeked.map((batch) => Buffer.from(batch));
  queue.release(queue.head);
  for (let seq = 100; seq <= 160; seq++) {
    await queue.append([makeBatch([seq], 1_000), makeBatch([seq], 100_000)]);
    queue.release(queue.head);
  }
  t.equal(peeked.length, 40);
  t.ok(peeked.every((batch, index) => batch.equals(copies[index]!)));
  await queue.close();
});

void test('at its quota a queue refuses before anything is written, and goes on after a release', async (t) => {
  const queue = Queue.open(testDirectory(t), queueOptions({ quotaBytes: 100_000 }));
  const before: Position[] = [];
  for (;;) {
    if (queue.refusal(10_000) !== undefined) break;
    before.push(await queue.append([makeBatch([before.length + 1], 9_800)]));
  }
  await t.rejects(queue.append([makeBatch([99], 9_800)]), { code: 'queue_full', retry: true });
  const room = 100_000 - queue.stats().bytes;
  const [fits, over] = await Promise.allSettled([
    queue.append([makeBatch([50], room - 200)]),
    queue.append([makeBatch([51], 200)]),
  ]);
  t.equal(fits.status, 'fulfilled', 'what still fits is taken');
  t.match(over, { status: 'rejected', reason: { code: 'queue_full' } }, 'what is on its way counts');
  t.equal(readAll(queue).length, before.length + 1);
  queue.release(before[0]!);
  t.equal((await queue.append([makeBatch([98], 9_800)])).offset, before.length + 2, 'a refusal takes no offset');
  t.ok(queue.stats().bytes <= 100_000);
  await queue.close();
});

void test('under the floor of free disk a queue refuses, and says so', async (t) => {
  const queue = Queue.open(testDirectory(t), queueOptions({ diskFloorBytes: 2 ** 60 }));
  await t.rejects(queue.append([makeBatch([1])]), { code: 'disk_low', retry: true });
  t.equal(queue.head.offset, 0);
  await queue.close();
});

void test('what cannot be a batch is refused before anything is written', async (t) => {
  const queue = Queue.open(testDirectory(t), queueOptions());
  for (const bad of [[], [Buffer.alloc(39)], [Buffer.alloc(MAX_BATCH_BYTES + 1)], [makeBatch([1]), Buffer.alloc(3)]]) {
    await t.rejects(queue.append(bad), { code: 'bad_batch' });
  }
  t.strictSame(readAll(queue), []);
  t.equal((await queue.append([makeBatch([1])])).offset, 1);
  await queue.close();
});

void test('a position from after the head cannot be released: somebody has what is not here', async (t) => {
  const queue = Queue.open(testDirectory(t), queueOptions());
  t.throws(() => queue.release({ epoch: Date.now() + 1e9, offset: 1 }), { code: 'fenced' });
  const head = await queue.append([makeBatch([1])]);
  t.throws(() => queue.release({ ...head, offset: head.offset + 1 }), { code: 'fenced' });
  queue.release({ epoch: head.epoch - 1, offset: 1_000 });
  t.equal(queue.stats().records, 1, 'one of an earlier epoch is no matter: a copy was opened anew');
  queue.release(head);
  t.equal(queue.stats().records, 0);
  await queue.close();
});

void test('a closed queue refuses, and closes once', async (t) => {
  const queue = Queue.open(testDirectory(t), queueOptions());
  const appending = queue.append([makeBatch([1])]);
  const closing = queue.close();
  await t.rejects(queue.append([makeBatch([2])]), { code: 'queue_closed' });
  t.equal((await appending).offset, 1, 'what was under way is committed');
  await closing;
  await queue.close();
  await t.rejects(queue.append([makeBatch([2])]), { code: 'queue_closed' });
});

void test('readers and listeners see a batch when it is on disk, not before', async (t) => {
  const queue = Queue.open(testDirectory(t), queueOptions());
  const heads: Position[] = [];
  queue.onAppend((head) => {
    heads.push(head);
    t.equal(readAll(queue).length, head.offset);
  });
  for (let seq = 1; seq <= 3; seq++) {
    const appending = queue.append([makeBatch([seq])]);
    t.equal(heads.length, seq - 1);
    await appending;
  }
  t.equal(heads.length, 3);
  await queue.close();
});

void test('the oldest batch that waits has an age', async (t) => {
  const queue = Queue.open(testDirectory(t), queueOptions({ retainBytes: 1_000_000 }));
  t.equal(queue.stats().oldestSeconds, 0);
  const head = await queue.append([makeBatch([1])]);
  t.ok(queue.stats().oldestSeconds >= 0);
  queue.release(head);
  t.equal(queue.stats().oldestSeconds, 0, 'what is only retained does not count');
  await queue.close();
});

void test('release alone, without an append, frees what it released', async (t) => {
  const path = testDirectory(t);
  const queue = Queue.open(path, queueOptions());
  for (let round = 1; round <= 3; round++)
    await queue.append(Array.from({ length: 500 }, (_, seq) => makeBatch([seq])));
  queue.release(queue.head);
  t.equal(queue.stats().records, 0);
  const reader = QueueReader.open(path);
  while (readAll(reader).length > 0) await new Promise((resolve) => setTimeout(resolve, 10));
  t.equal(queue.stats().retainedBytes, 0);
  await reader.close();
  await queue.close();
});

void test('errors of a queue carry codes', (t) => {
  t.throws(() => QueueReader.open(testDirectory(t)), { code: 'queue_unreadable' });
  t.end();
});
