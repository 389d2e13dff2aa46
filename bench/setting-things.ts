/**
 * A raw pipeline of SET: for each report its device's document, the same bytes as shadow's codec makes, in the order of the
 * reports. What to send is made before the clock runs; ioredis and the answers are what is left.
 *
 * `setting-things.js <known> <reports> <port> <SETs a pipeline> <pipelines under way>`
 */
import { Redis } from 'ioredis';
import { encodeThing } from '../services/shadow/codec.js';
import { Thing } from '../services/shadow/thing.js';
import { RecordCursor } from '../shared/batch.js';
import { finishWork, measureWork } from './measured-work.js';
import { runAsChild } from './messages.js';
import { DEVICES, deviceOf, readReports, reportOf, REPORTS_A_DEVICE } from './shadow-reports.js';

const LIMITS = { documentBytes: 8_192, depth: 8 };

interface Shape {
  readonly setsAPipeline: number;
  readonly pipelines: number;
}

interface Document {
  readonly key: string;
  readonly value: Buffer;
}

async function run(): Promise<void> {
  const [known, reports, port, setsAPipeline, pipelines] = process.argv.slice(2);
  if (known === undefined || reports === undefined) throw new Error('two files of reports are needed');
  const shape = { setsAPipeline: Number(setsAPipeline), pipelines: Number(pipelines) };
  const redis = new Redis(Number(port), '127.0.0.1');
  const documents = new Map(Array.from({ length: DEVICES }, (_, index) => [deviceOf(index), documentOf(index)]));
  await setAll(redis, documentsOf(known, documents), shape);
  const order = documentsOf(reports, documents);
  const time = await measureWork(() => setAll(redis, order, shape));
  if ((await redis.dbsize()) !== DEVICES) throw new Error(`Redis has ${await redis.dbsize()} keys, not ${DEVICES}`);
  const bytes = order.reduce((sum, { value }) => sum + value.length, 0) / order.length;
  redis.disconnect();
  await finishWork(time, { bytes });
}

/** The document as it is after a device's last report. */
function documentOf(index: number): Document {
  const thing = new Thing(deviceOf(index));
  const nowMs = Date.now();
  for (let number = 0; number <= REPORTS_A_DEVICE; number++) {
    thing.applyReport(JSON.parse(reportOf(index, number)) as Record<string, number>, nowMs + number, LIMITS);
  }
  return { key: `shadow:${thing.id}`, value: Buffer.from(encodeThing(thing)) };
}

function documentsOf(file: string, documents: ReadonlyMap<string, Document>): Document[] {
  return readReports(file).flatMap((batch) => {
    const found: Document[] = [];
    for (const cursor = new RecordCursor(batch); cursor.next();) found.push(documents.get(cursor.deviceId)!);
    return found;
  });
}

async function setAll(redis: Redis, documents: readonly Document[], shape: Shape): Promise<void> {
  let next = 0;
  const lane = async (): Promise<void> => {
    while (next < documents.length) {
      const pipeline = redis.pipeline();
      const end = Math.min(documents.length, next + shape.setsAPipeline);
      for (; next < end; next++) pipeline.set(documents[next]!.key, documents[next]!.value);
      for (const [error] of (await pipeline.exec()) ?? []) if (error !== null) throw error;
    }
  };
  await Promise.all(Array.from({ length: shape.pipelines }, lane));
}

runAsChild(run);
