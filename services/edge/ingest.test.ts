import { join } from 'node:path';
import { test, type Test } from 'tap';
import { Kind } from '../../shared/batch.js';
import { createLogger } from '../../shared/log.js';
import { createRegistry } from '../../shared/metrics.js';
import { START } from '../../shared/position.js';
import { Queue } from '../../shared/queue/queue.js';
import { Ingest, type IngestOptions } from './ingest.js';
import { EdgeMetrics } from './metrics.js';
import { DeviceSession, type Ending, type Replies } from './session.js';
import { testDirectory } from '../../test/support/directory.js';

const PAYLOAD = Buffer.from(JSON.stringify('x'.repeat(998)));
const RECORD_BYTES = 32 + 3 + PAYLOAD.length;

/** A session that keeps what the ingest tells the device. */
class Heard implements Replies {
  readonly words: string[] = [];
  readonly session = new DeviceSession('abc', this);

  ack(seq: number): void {
    this.words.push(`ack ${seq}`);
  }

  error(code: string): void {
    this.words.push(code);
  }

  close(ending: Ending): void {
    this.words.push(`close ${ending.why} ${ending.why === 'no_room' ? ending.retryAfterMs : ''}`);
  }
}

/** An ingest on a real queue; both end with the test. */
function ingestFor(t: Test, limits: Partial<IngestOptions>, quotaBytes = 2 ** 30): { ingest: Ingest; queue: Queue } {
  const fail = (error: unknown): void => {
    throw error;
  };
  const queue = Queue.open(join(testDirectory(t), 'queue'), {
    quotaBytes,
    diskFloorBytes: 0,
    retainBytes: 0,
    onFailure: fail,
  });
  const metrics = new EdgeMetrics(createRegistry('edge'), () => 0);
  const options = { payloadBytes: 65_536, windowBytes: 2 ** 20, memoryBytes: 2 ** 26, retryAfterMs: 1_000, ...limits };
  const ingest = new Ingest(queue, options, metrics, createLogger('edge'), fail);
  t.teardown(async () => {
    await ingest.stop();
    await queue.close();
  });
  return { ingest, queue };
}

function take(ingest: Ingest, { session }: Heard, seq: number, receivedMs = Date.now()): boolean {
  return ingest.take(session, Kind.telemetry, seq, 1, receivedMs, PAYLOAD, 0, PAYLOAD.length);
}

void test('a record over the window is not taken: what was taken is committed and acked, then the session ends for want of room', async (t) => {
  const { ingest, queue } = ingestFor(t, { windowBytes: 3 * RECORD_BYTES });
  const device = new Heard();
  t.same(
    [1, 2, 3, 4].map((seq) => take(ingest, device, seq)),
    [true, true, true, false],
  );
  t.notOk(device.session.isTaking);
  t.same(device.words, [], 'nothing is said before the commit');
  await ingest.stop();
  t.match(device.words, ['ack 3', /^close no_room \d+$/]);
  t.equal(device.words.length, 2);
  t.equal(queue.stats().records, 3);
  t.equal(ingest.takenBytes, 0);
});

void test('the window is given back by the ack', async (t) => {
  const { ingest } = ingestFor(t, { windowBytes: RECORD_BYTES });
  const device = new Heard();
  for (const seq of [1, 2, 3]) {
    t.ok(take(ingest, device, seq));
    t.equal(device.session.unackedBytes, RECORD_BYTES);
    await ingest.stop();
    t.equal(device.session.unackedBytes, 0);
  }
  t.same(device.words, ['ack 1', 'ack 2', 'ack 3']);
});

void test('the bound on memory holds for all devices together; whoever goes over it comes back later', async (t) => {
  const { ingest, queue } = ingestFor(t, { memoryBytes: 5 * RECORD_BYTES });
  const [first, second, third] = [new Heard(), new Heard(), new Heard()];
  for (const seq of [1, 2]) t.ok(take(ingest, first, seq));
  for (const seq of [1, 2, 3]) t.ok(take(ingest, second, seq));
  t.notOk(take(ingest, third, 1));
  t.match(third.words, [/^close no_room \d+$/], 'it has nothing to wait for');
  t.equal(ingest.takenBytes, 5 * RECORD_BYTES);
  await ingest.stop();
  t.same([first.words, second.words], [['ack 2'], ['ack 3']]);
  t.equal(queue.stats().records, 5);
  t.equal(ingest.takenBytes, 0);
  const again = new Heard();
  t.ok(take(ingest, again, 1), 'there is room again');
});

void test('what the queue refuses is not acked, is not counted any more, and its devices are sent away', async (t) => {
  const { ingest, queue } = ingestFor(t, {}, 4_000);
  const device = new Heard();
  for (const seq of [1, 2]) t.ok(take(ingest, device, seq));
  await ingest.stop();
  t.same(device.words, ['ack 2']);
  for (const seq of [3, 4]) t.ok(take(ingest, device, seq));
  await ingest.stop();
  t.match(device.words, ['ack 2', /^close no_room \d+$/]);
  t.equal(device.words.length, 2);
  t.equal(queue.stats().records, 2);
  t.equal(ingest.takenBytes, 0);
  t.equal(device.session.unackedBytes, 0);
});

void test('a refusal of the queue does not outlast a clock that is set back by an hour', async (t) => {
  const { ingest } = ingestFor(t, {}, 4_000);
  const device = new Heard();
  for (const seq of [1, 2, 3, 4]) t.ok(take(ingest, device, seq));
  await ingest.stop();
  t.match(device.words, [/^close no_room/]);
  t.ok(take(ingest, new Heard(), 1, Date.now() - 3_600_000), 'the queue is asked again');
});

void test('records in flight of a session that closed are stored, and nothing is said to it', async (t) => {
  const { ingest, queue } = ingestFor(t, {});
  const device = new Heard();
  for (const seq of [1, 2]) t.ok(take(ingest, device, seq));
  device.session.markClosed();
  await ingest.stop();
  t.same(device.words, []);
  t.equal(queue.stats().records, 2);
  t.equal(ingest.takenBytes, 0);
});

void test('a group of more than one batch is one commit, acked once, in order', async (t) => {
  const { ingest, queue } = ingestFor(t, {});
  const device = new Heard();
  const seqs = Array.from({ length: 800 }, (_, index) => index + 1);
  for (const seq of seqs) t.ok(take(ingest, device, seq));
  await ingest.stop();
  t.same(device.words, ['ack 800']);
  t.equal(queue.peek(START, 2 ** 30).batches.length, 4);
  t.equal(queue.stats().records, 800);
});

void test('retry-after is spread around what is configured', (t) => {
  const { ingest } = ingestFor(t, { windowBytes: 10, retryAfterMs: 1_000 });
  const asked = Array.from({ length: 200 }, () => {
    const device = new Heard();
    take(ingest, device, 1);
    return Number(/close no_room (\d+)$/.exec(device.words[0] ?? '')?.[1]);
  });
  for (const ms of asked) t.ok(ms >= 500 && ms <= 1_500);
  t.ok(new Set(asked).size > 50);
  t.end();
});
