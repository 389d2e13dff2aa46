/**
 * The firmware: its own tests (CTest), and its host build as a real device of a real pipeline. What its log has accepted and
 * not dropped by its rule is in the table exactly once, whoever is killed, however long the edge is away.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { Session } from '../shared/database.js';
import { packagePath } from '../shared/paths.js';
import { randomFrom } from './faults/random.js';
import { drained } from './support/crash-run.js';
import { checkDevice, FirmwareBuild, FirmwareDevice, missingTools, type DeviceOptions } from './support/firmware.js';
import { Pipeline } from './support/pipeline.js';
import { until } from './support/processes.js';

const SECRET = 'a secret of the test, of some length';
const SEED = 20_261_121;
const NOTHING = { lost: [], doubled: [], changed: [] };

const missing = await missingTools();
const skip = missing === undefined ? false : `${missing}: the firmware's host build was not tested`;
const build = missing === undefined ? await FirmwareBuild.make() : undefined;
t.teardown(() => build?.remove());

await t.test('the tests of the firmware pass', { skip }, async (t) => {
  const { code, output } = await build!.test();
  t.equal(code, 0, output);
  t.match(output, /100% tests passed, 0 tests failed out of \d+/);
});

async function withPipeline(work: (pipeline: Pipeline, make: DeviceMaker) => Promise<void>): Promise<void> {
  const pipeline = await Pipeline.start({ environment: { EDGE_DEVICE_SECRET: SECRET } });
  const devices: FirmwareDevice[] = [];
  const make: DeviceMaker = (id, words = []) => {
    const log = join(pipeline.directory, id);
    const options: DeviceOptions = {
      program: build!.program,
      edgeUrl: pipeline.edgeUrl,
      secret: SECRET,
      id,
      log,
      words,
    };
    const device = new FirmwareDevice(options);
    devices.push(device);
    return device;
  };
  try {
    await work(pipeline, make);
  } finally {
    for (const device of devices) if (device.starts > 0) await device.end('SIGKILL');
    await pipeline.stop();
  }
}

type DeviceMaker = (id: string, words?: readonly string[]) => FirmwareDevice;

/** One more life, in which the device makes a few records, gets everything acked, and ends by itself. */
async function finish(device: FirmwareDevice): Promise<number | NodeJS.Signals> {
  device.start(50);
  return device.ended();
}

await t.test('a record that the log accepted is in the table once, whoever is killed', { skip }, async (t) => {
  await withPipeline(async (pipeline, make) => {
    // However slowly an edge starts, this log is not full.
    const device = make('firmware-1', ['--segment-bytes', '1048576']);
    const random = randomFrom(SEED);
    const { edge } = pipeline.services;
    for (let life = 0; life < 8; life++) {
      device.start(100_000, 2_000);
      const goal = device.lastAccepted + 200 + Math.floor(random() * 800);
      await until(() => device.lastAccepted >= goal);
      if (life % 2 === 0) {
        const opens = device.opens;
        await edge.end('SIGKILL');
        edge.spawn();
        if (random() < 0.7) await until(() => device.opens > opens);
      }
      t.equal(await device.end('SIGKILL'), 'SIGKILL');
    }
    await edge.untilReady();
    t.equal(await finish(device), 0, device.errors);
    await drained(pipeline);
    t.ok(device.kept.size > 3_000, `${device.kept.size} records were accepted`);
    t.equal(device.droppedRecords + device.refused.size, 0);
    t.same(await checkDevice(pipeline.postgres.url, device), NOTHING);
    await plantFaults(t, pipeline, device);
  });
});

/** The checker finds a row that is missing, one that is there twice, and one with other data. */
async function plantFaults(t: Test, pipeline: Pipeline, device: FirmwareDevice): Promise<void> {
  const session = await Session.open(pipeline.postgres.url, 'test');
  try {
    await session.client.query('delete from telemetry where seq = 7');
    await session.client.query(
      `insert into telemetry select time + interval '1 ms', device_id, seq, received, type, site, data from telemetry where seq = 8`,
    );
    await session.client.query(`update telemetry set data = '{}' where seq = 9`);
  } finally {
    await session.close();
  }
  t.same(await checkDevice(pipeline.postgres.url, device), { lost: [7], doubled: [8], changed: [9] });
}

await t.test('while the edge is away a log keeps what it can hold, and drops by its rule', { skip }, async (t) => {
  await withPipeline(async (pipeline, make) => {
    const { edge } = pipeline.services;
    const small = ['--segment-bytes', '4096', '--segments', '8'];
    const large = make('outage-large');
    const oldest = make('outage-oldest', [...small, '--when-full', 'oldest']);
    const newest = make('outage-newest', [...small, '--when-full', 'newest']);
    const devices = [large, oldest, newest];
    for (const device of devices) device.start(100_000, 2_000);
    await until(() => devices.every(({ acked }) => acked >= 200));
    await edge.end('SIGKILL');
    // An hour of a device that speaks every second, in two seconds.
    const goals = devices.map(({ lastAccepted }) => lastAccepted + 3_600);
    await until(
      () => large.lastAccepted >= goals[0]! && oldest.lastAccepted >= goals[1]! && newest.fullRecords > 1_000,
    );
    for (const device of devices) await device.end('SIGKILL');
    // The power comes back before the edge does.
    for (const device of devices) device.start(300);
    await until(() => large.lastAccepted >= goals[0]! + 300 && newest.starts === 2);
    edge.spawn();
    await edge.untilReady();
    for (const device of devices) {
      t.equal(await device.ended(), 0, device.errors);
      t.equal(await finish(device), 0, device.errors);
    }
    await drained(pipeline);
    for (const device of devices) t.same(await checkDevice(pipeline.postgres.url, device), NOTHING, device.id);
    t.equal(large.droppedRecords + large.fullRecords, 0, 'a log that was not full lost nothing');
    t.ok(
      oldest.droppedRecords > 1_000 && oldest.fullRecords === 0,
      `${oldest.droppedRecords} of the oldest were dropped`,
    );
    t.equal(newest.droppedRecords, 0, 'where the newest are refused, nothing accepted was dropped');
  });
});

await t.test('the firmware is no part of the image', (t) => {
  const lines = readFileSync(packagePath('.dockerignore'), 'utf8').split('\n');
  t.ok(lines.includes('*'), 'only what is named gets in');
  t.notOk(lines.some((line) => line.startsWith('!firmware')));
  t.end();
});
