import { randomBytes } from 'node:crypto';
import { test, type Test } from 'tap';
import { Publisher } from 'zeromq';
import { makeStampedBatch, seqsOf } from '../test/support/batches.js';
import { silent } from '../test/support/postgres.js';
import { freePorts, until } from '../test/support/processes.js';
import { BATCH_TOPIC, encodePublished, HEAD_TOPIC } from './consumer-frames.js';
import { SOCKET_OPTIONS } from './links.js';
import { encodePosition, START, type Position } from './position.js';
import { Subscription } from './subscription.js';

interface Heard {
  readonly subscription: Subscription;
  readonly publisher: Publisher;
  readonly seqs: number[];
  readonly heads: Position[];
}

/** A publisher and a subscription that has heard it. */
async function connect(t: Test): Promise<Heard> {
  const [port] = await freePorts(1);
  const publisher = new Publisher(SOCKET_OPTIONS);
  await publisher.bind(`tcp://127.0.0.1:${port!}`);
  const seqs: number[] = [];
  const heads: Position[] = [];
  const subscription = new Subscription({
    publish: `tcp://127.0.0.1:${port!}`,
    log: silent,
    onBatch: (batch) => seqs.push(...seqsOf(batch)),
    onHead: (head) => heads.push(head),
  });
  t.notOk(subscription.connected);
  await subscription.start();
  await until(async () => {
    await publisher.send([HEAD_TOPIC, encodePosition(START)]);
    return heads.length > 0;
  });
  t.ok(subscription.connected);
  t.teardown(async () => {
    await subscription.stop();
    publisher.close();
  });
  return { subscription, publisher, seqs, heads };
}

function publish(publisher: Publisher, seq: number): Promise<void> {
  const position = { epoch: 1, offset: seq };
  return publisher.send([BATCH_TOPIC, encodePublished(position, position), makeStampedBatch(position, [seq])]);
}

void test('batches and heads arrive as they were published', async (t) => {
  const { publisher, seqs, heads } = await connect(t);
  for (const seq of [1, 2, 3]) await publish(publisher, seq);
  await publisher.send([HEAD_TOPIC, encodePosition({ epoch: 1, offset: 3 })]);
  await until(() => heads.at(-1)?.offset === 3);
  t.strictSame(seqs, [1, 2, 3]);
});

void test('messages that make no sense are counted and passed over', async (t) => {
  const { subscription, publisher, seqs } = await connect(t);
  const position = { epoch: 1, offset: 1 };
  const good = makeStampedBatch(position, [1]);
  const damaged = Buffer.from(good);
  damaged[50]! ^= 1;
  const bad: (string | Buffer)[][] = [
    [BATCH_TOPIC],
    [HEAD_TOPIC, Buffer.alloc(15)],
    [HEAD_TOPIC, encodePosition({ epoch: Number.NaN, offset: 1 })],
    [BATCH_TOPIC, encodePosition(position), good],
    [BATCH_TOPIC, encodePublished(position, position)],
    [BATCH_TOPIC, encodePublished(position, position), damaged],
    [BATCH_TOPIC, encodePublished({ epoch: 1, offset: 2 }, position), good],
    [BATCH_TOPIC, encodePublished(position, position), Buffer.of()],
    ...Array.from({ length: 50 }, (_, index) => [BATCH_TOPIC, randomBytes(index), randomBytes(3 * index)]),
  ];
  for (const frames of bad) await publisher.send(frames);
  await publish(publisher, 7);
  await until(() => seqs.length > 0);
  t.strictSame(seqs, [7]);
  t.equal(subscription.malformed, bad.length);
});
