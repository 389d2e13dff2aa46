/**
 * Shadow applying reports (shadow-apply.ts starts it): first one of each device, so that all of them are known and in memory,
 * then, on a message, those that are measured, until the last one is in the store. Afterwards it looks what is there.
 *
 * `applying-shadow.js <known> <reports>`; the store comes from the environment, as the service's does.
 */
import { isDeepStrictEqual } from 'node:util';
import { decodeThing } from '../services/shadow/codec.js';
import { CLASSIC } from '../services/shadow/api.js';
import { finishWork, measureWork } from './measured-work.js';
import { runAsChild } from './messages.js';
import { Engine } from './shadow-engine.js';
import { DEVICES, deviceOf, readReports, reportOf, REPORTS_A_DEVICE } from './shadow-reports.js';

/** Of so many devices one is looked at. */
const CHECKED = 50;

async function run(): Promise<void> {
  const [known, reports] = process.argv.slice(2);
  if (known === undefined || reports === undefined) throw new Error('two files of reports are needed');
  const engine = await Engine.start();
  await engine.apply(readReports(known));
  const batches = readReports(reports);
  const before = { ...engine.written };
  const time = await measureWork(() => engine.apply(batches));
  const things = engine.written.things - before.things;
  const changes = engine.written.changes - before.changes;
  await check(engine);
  await engine.stop();
  await finishWork(time, { things, changes });
}

/** The newest report of a device is its reported state, and every one of them was accepted. */
async function check({ store }: Engine): Promise<void> {
  for (let index = 0; index < DEVICES; index += CHECKED) {
    const id = deviceOf(index);
    const [value] = await store.load([id]);
    if (value === undefined) throw new Error(`${id} is not in the store`);
    const view = decodeThing(id, value).view(CLASSIC) as { state: { reported: unknown }; version: number };
    const expected = JSON.parse(reportOf(index, REPORTS_A_DEVICE)) as unknown;
    const reported = JSON.parse(JSON.stringify(view.state.reported)) as unknown;
    if (view.version === REPORTS_A_DEVICE + 1 && isDeepStrictEqual(reported, expected)) continue;
    throw new Error(`${id} has version ${view.version} and reports ${JSON.stringify(reported)}`);
  }
}

runAsChild(run);
