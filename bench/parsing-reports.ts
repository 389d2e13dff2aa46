/**
 * What no shadow can do without, and nothing else: the payload of each report as a string, and JSON.parse of it. Where the
 * payloads are in their batches is found before the clock runs.
 *
 * `parsing-reports.js <known> <reports>`
 */
import { RecordCursor } from '../shared/batch.js';
import { finishWork, measureWork } from './measured-work.js';
import { runAsChild } from './messages.js';
import { readReports, REPORTS } from './shadow-reports.js';

interface Payloads {
  readonly batch: Buffer;
  /** Start and end of each. */
  readonly bounds: Uint32Array;
}

async function run(): Promise<void> {
  const [known, reports] = process.argv.slice(2);
  if (known === undefined || reports === undefined) throw new Error('two files of reports are needed');
  parseAll(readReports(known).map(findPayloads));
  const payloads = readReports(reports).map(findPayloads);
  let objects = 0;
  const time = await measureWork(() => {
    objects = parseAll(payloads);
  });
  if (objects !== REPORTS) throw new Error(`${objects} objects came out of ${REPORTS} reports`);
  await finishWork(time);
}

function findPayloads(batch: Buffer): Payloads {
  const bounds: number[] = [];
  for (const cursor = new RecordCursor(batch); cursor.next();) bounds.push(cursor.payloadStart, cursor.payloadEnd);
  return { batch, bounds: Uint32Array.from(bounds) };
}

/** @returns how many objects came out */
function parseAll(payloads: readonly Payloads[]): number {
  let objects = 0;
  for (const { batch, bounds } of payloads) {
    for (let at = 0; at < bounds.length; at += 2) {
      const value: unknown = JSON.parse(batch.toString('utf8', bounds[at], bounds[at + 1]));
      if (typeof value === 'object') objects++;
    }
  }
  return objects;
}

runAsChild(run);
