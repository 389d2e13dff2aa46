/** The queue of an edge that is gone for good, replayed from elsewhere: every acked record is in the table exactly once. */
import { cp, rm } from 'node:fs/promises';
import { join } from 'node:path';
import t from 'tap';
import type { Replay } from '../services/queue/replay.js';
import { Device } from '../shared/device.js';
import { History } from './faults/history/history.js';
import { dataOf } from './faults/history/payload.js';
import { runHoldfast } from './support/holdfast.js';
import { Pipeline } from './support/pipeline.js';
import { until } from './support/processes.js';
import { countRows } from './support/storage.js';

const DEVICES = 20;
const TURN_RECORDS = 50;

interface Sender {
  readonly devices: readonly Device[];
  readonly history: History;
}

function connect(pipeline: Pipeline): Sender {
  const history = new History();
  const devices = Array.from({ length: DEVICES }, (_, index) => {
    const id = `lost-${index + 1}`;
    const device = new Device({ url: pipeline.edgeUrl, id, minBackoffMs: 50, maxBackoffMs: 500 });
    device.on('ack', (seq) => history.acked(id, seq));
    device.connect();
    return device;
  });
  return { devices, history };
}

/** Every device sends `turns` times; resolves when all is acked. */
async function send({ devices, history }: Sender, turns: number): Promise<void> {
  for (let turn = 0; turn < turns; turn++) {
    for (const device of devices) {
      for (let count = 0; count < TURN_RECORDS; count++) {
        const seq = device.lastSeq + 1;
        device.send(dataOf(device.id, seq));
        history.sent(device.id, seq);
      }
    }
    await Promise.all(devices.map((device) => device.flushed()));
  }
}

async function replay(path: string, pipeline: Pipeline, ...words: string[]): Promise<{ code: number; result: Replay }> {
  const to = pipeline.environment['EDGE_ROUTER']!;
  const { code, stdout, stderr } = await runHoldfast(['queue', 'replay', path, '--to', to, '--json', ...words]);
  if (stdout === '') throw new Error(`the replay ended with ${code}: ${stderr}`);
  return { code, result: JSON.parse(stdout) as Replay };
}

await t.test('a dead edge’s queue, replayed from elsewhere, puts every acked record in the table once', async (t) => {
  const pipeline = await Pipeline.start();
  t.teardown(() => pipeline.stop());
  const { edge, router } = pipeline.services;
  const sender = connect(pipeline);
  const { history, devices } = sender;
  t.teardown(() => Promise.all(devices.map((device) => device.close())));
  // A part goes all the way, a part stays in the edge's queue, and a part is under way when the router dies.
  await send(sender, 10);
  await Promise.all([send(sender, 5), router.end('SIGKILL')]);
  await send(sender, 10);

  const busy = await runHoldfast(['queue', 'replay', join(pipeline.directory, 'edge'), '--to', 'tcp://127.0.0.1:1']);
  t.equal(busy.code, 1);
  t.match(busy.stderr, /is at work in another process/);

  await edge.end('SIGKILL');
  const rescued = join(pipeline.directory, 'rescued');
  const copy = join(pipeline.directory, 'copy');
  for (const path of [rescued, copy]) await cp(join(pipeline.directory, 'edge'), path, { recursive: true });
  await rm(join(pipeline.directory, 'edge'), { recursive: true });
  await router.start();

  const first = await replay(rescued, pipeline);
  t.equal(first.code, 0);
  t.ok(first.result.sent.records >= 10 * TURN_RECORDS * DEVICES, `${first.result.sent.records} records were sent`);
  t.match(first.result, { held: first.result.head, released: first.result.head, damaged: [], older: false });
  await until(async () => (await router.metric('holdfast_queue_records')) === 0);
  t.equal(history.ackedRecords, history.sentRecords);
  t.same((await history.check({ databaseUrl: pipeline.databaseUrl })).lines, []);
  history.close();
  const rows = await countRows(pipeline.postgres.url);
  t.strictSame(rows, { rows: history.ackedRecords, distinct: history.ackedRecords });

  const stored = await router.metric('holdfast_records_in_total');
  for (const path of [rescued, copy]) {
    const again = await replay(path, pipeline, '--keep');
    t.equal(again.code, 0);
    t.match(again.result, { sent: { batches: 0, records: 0 }, heldBefore: first.result.head, held: first.result.head });
  }
  t.equal(await router.metric('holdfast_records_in_total'), stored, 'the router has stored nothing more');
  t.strictSame(await countRows(pipeline.postgres.url), rows);
  t.match((await runHoldfast(['queue', 'verify', rescued])).stdout, ': whole\n');
});

await t.test('a replay says why nothing is taken', async (t) => {
  const pipeline = await Pipeline.start();
  t.teardown(() => pipeline.stop());
  const sender = connect(pipeline);
  await send(sender, 1);
  await Promise.all(sender.devices.map((device) => device.close()));
  await pipeline.services.edge.end('SIGKILL');
  const path = join(pipeline.directory, 'edge');
  const to = pipeline.environment['EDGE_ROUTER']!;
  const shard = await runHoldfast(['queue', 'replay', path, '--to', to, '--shard', '7']);
  t.equal(shard.code, 1);
  t.match(shard.stderr, /refused: this router serves shard 0, not 7/);
  await pipeline.services.router.end();
  const away = await runHoldfast(['queue', 'replay', path, '--to', to, '--timeout', '500ms']);
  t.equal(away.code, 1);
  t.match(away.stderr, /took nothing for 500 ms .*it never answered; run it again/);
});
