/**
 * 100,000 things in shadow's memory (shadow-memory.ts starts it): each has reported ten fields and sent a telemetry of 200 bytes,
 * and everything is written. They come through the engine, a few thousand at a time, so that what is left is what the
 * service has too: the things, their places in what is held in memory, and no batch.
 *
 * On each message of its parent it does the next of: tell its heap; make the things; tell its heap.
 */
import { BatchBuilder, Kind, stampBatch } from '../shared/batch.js';
import { told } from './measured-work.js';
import { runAsChild, tell } from './messages.js';
import { makePayload } from './record-block.js';
import { Engine } from './shadow-engine.js';
import { DEVICES, deviceOf, reportOf } from './shadow-reports.js';

/** What the process keeps for having served anybody is not counted as theirs. */
const FIRST_THINGS = 2_000;
const THINGS_AT_ONCE = 2_000;
const TELEMETRY = makePayload(200);

async function run(): Promise<void> {
  const engine = await Engine.start();
  let offset = 0;
  const make = async (from: number, to: number): Promise<void> => {
    for (let first = from; first < to; first += THINGS_AT_ONCE) {
      const batches = batchesOf(first, Math.min(first + THINGS_AT_ONCE, to));
      for (const batch of batches) stampBatch(batch, { epoch: 1, offset: ++offset }, Date.now());
      await engine.apply(batches);
    }
  };
  await make(DEVICES, DEVICES + FIRST_THINGS);
  tell('ready');
  await tellHeap();
  await told();
  await make(0, DEVICES);
  tell('made');
  await tellHeap();
  await told();
}

async function tellHeap(): Promise<void> {
  await told();
  if (globalThis.gc === undefined) throw new Error('start it with --expose-gc');
  globalThis.gc();
  const { heapUsed, external } = process.memoryUsage();
  tell('heap', { heapBytes: heapUsed, externalBytes: external });
}

function batchesOf(from: number, to: number): Buffer[] {
  const builder = new BatchBuilder();
  const batches: Buffer[] = [];
  const add = (kind: Kind, id: Buffer, payload: Buffer): void => {
    const nowMs = Date.now();
    if (builder.add(kind, id, 1, nowMs, nowMs, payload, 0, payload.length)) return;
    batches.push(Buffer.from(builder.build()));
    builder.reset();
    add(kind, id, payload);
  };
  for (let index = from; index < to; index++) {
    const id = Buffer.from(deviceOf(index), 'latin1');
    add(Kind.report, id, Buffer.from(reportOf(index, 0), 'latin1'));
    add(Kind.telemetry, id, TELEMETRY);
  }
  batches.push(Buffer.from(builder.build()));
  return batches;
}

runAsChild(run);
