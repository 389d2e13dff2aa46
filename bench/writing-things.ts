/**
 * 1,000,000 things written into a store through Store.write, 10,000 a change (shadow-size.ts starts it). Their order is that
 * of a shuffle, as devices have none: a store that is filled in the order of its keys is smaller than it will ever be again.
 */
import { encodeThing } from '../services/shadow/codec.js';
import type { ThingWrite } from '../services/shadow/store.js';
import { Thing } from '../services/shadow/thing.js';
import { finishWork, measureWork } from './measured-work.js';
import { runAsChild } from './messages.js';
import { makePayload } from './record-block.js';
import { makeStore } from './shadow-engine.js';
import { deviceOf, reportOf, shuffled } from './shadow-reports.js';

const THINGS_A_CHANGE = 10_000;
const TELEMETRY = makePayload(200);
const LIMITS = { documentBytes: 8_192, depth: 8 };

async function run(): Promise<void> {
  const count = Number(process.argv[2]);
  const store = makeStore();
  await store.open();
  const order = shuffled(Uint32Array.from({ length: count }, (_, index) => index));
  let bytes = 0;
  const time = await measureWork(async () => {
    for (let from = 0; from < count; from += THINGS_A_CHANGE) {
      const things = Array.from(order.subarray(from, from + THINGS_A_CHANGE), writeOf);
      for (const { value } of things) bytes += value.length;
      await store.write({ applied: undefined, things, commands: [] });
    }
  });
  await store.close();
  await finishWork(time, { bytes });
}

function writeOf(index: number): ThingWrite {
  const thing = new Thing(deviceOf(index));
  const nowMs = Date.now();
  thing.applyReport(JSON.parse(reportOf(index, 0)) as Record<string, number>, nowMs, LIMITS);
  thing.applyTelemetry(TELEMETRY, 0, TELEMETRY.length, nowMs, nowMs, 2);
  return { thing: thing.id, value: Buffer.from(encodeThing(thing)), entry: thing.entry() };
}

runAsChild(run);
