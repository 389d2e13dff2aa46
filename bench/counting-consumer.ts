/**
 * The end of the pipeline when storage is not what is measured: a consumer that acks what it is given and counts the
 * records by the headers of their batches. The consumer client has checked that batches follow each other; here it is
 * checked once more, because a count over a gap would be a good number for a broken pipeline.
 *
 * `counting-consumer.js <name> <fetch endpoint> <publish endpoint>`; on a message it tells `counted`: how many there were, and how
 * long the first record of each batch took since the message before, from the edge to the router's commit and from that to here.
 */
import { pino } from 'pino';
import { readBatchHeader, RecordCursor } from '../shared/batch.js';
import { Consumer } from '../shared/consumer.js';
import { Latencies } from './latencies.js';
import { runAsChild, tell } from './messages.js';
import { comparePositions, follows, formatPosition, START, type Position } from '../shared/position.js';

const READ_BYTES = 4 * 1024 * 1024;
const BUFFER_BYTES = 16 * 1024 * 1024;

async function run(): Promise<void> {
  const [name, fetch, publish] = process.argv.slice(2);
  if (name === undefined || fetch === undefined || publish === undefined)
    throw new Error('a name and endpoints are needed');
  const log = pino({ level: 'warn' });
  const resume = (_queueId: string, cursor: Position): Promise<Position> => Promise.resolve(cursor);
  const consumer = new Consumer({ name, fetch, publish, maxBufferBytes: BUFFER_BYTES, resume, log });
  let records = 0;
  let batches = 0;
  const toRouter = new Latencies();
  const toConsumer = new Latencies();
  process.on('message', () => {
    tell('counted', { records, batches, ...summary('toRouter', toRouter), ...summary('toConsumer', toConsumer) });
    toRouter.clear();
    toConsumer.clear();
  });
  await consumer.start();
  tell('started');
  for (let last = START; ;) {
    const delivery = await consumer.read(READ_BYTES);
    if (delivery === undefined) return;
    for (const batch of delivery.batches) {
      const header = readBatchHeader(batch);
      assertNext(header.position, last);
      last = header.position;
      records += header.records;
      batches++;
      const first = new RecordCursor(batch);
      if (first.next()) toRouter.add(header.committedMs - first.receivedMs, header.records);
      toConsumer.add(Date.now() - header.committedMs, header.records);
    }
    consumer.ack(delivery.queueId, delivery.through);
  }
}

/** Percentiles in ms; NaN where there was nothing. */
function summary(name: string, latencies: Latencies): Readonly<Record<string, number>> {
  if (latencies.count === 0) return {};
  return { [`${name}P50Ms`]: latencies.percentile(0.5), [`${name}P99Ms`]: latencies.percentile(0.99) };
}

/** Offsets count on without a gap; an epoch may only grow. */
function assertNext(next: Position, last: Position): void {
  const contiguous = last === START || follows(next, last) || next.offset === last.offset + 1;
  if (contiguous && comparePositions(next, last) > 0) return;
  throw new Error(`${formatPosition(next)} came after ${formatPosition(last)}`);
}

runAsChild(run);
