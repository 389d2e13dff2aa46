import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { test, type Test } from 'tap';
import { damagePayload, makeBatch, queueOptions } from '../test/support/batches.js';
import type { ScriptSettings } from '../test/support/monitor-script.js';
import { until } from '../test/support/processes.js';
import { Monitor } from './monitor.js';
import { packagePath } from './paths.js';
import { Queue } from './queue/queue.js';
import { testDirectory } from '../test/support/directory.js';

const script = pathToFileURL(packagePath('dist', 'test', 'support', 'monitor-script.js'));

interface Watched {
  readonly monitor: Monitor<ScriptSettings>;
  readonly seqs: number[];
  readonly failures: Error[];
  readonly reports: Readonly<Record<string, number>>[];
}

function makeMonitor(queue: Queue, how: ScriptSettings['how'] = 'forward'): Watched {
  const seqs: number[] = [];
  const failures: Error[] = [];
  const reports: Readonly<Record<string, number>>[] = [];
  const monitor = new Monitor<ScriptSettings>({
    name: 'test',
    script,
    queue,
    settings: { how },
    onReport: (values) => {
      reports.push(values);
      if (values['seq'] !== undefined) seqs.push(values['seq']);
    },
    onFailure: (error) => failures.push(error),
  });
  return { monitor, seqs, failures, reports };
}

function openQueue(t: Test): Queue {
  const queue = Queue.open(join(testDirectory(t), 'queue'), queueOptions());
  t.teardown(() => queue.close());
  return queue;
}

function upTo(last: number): number[] {
  return Array.from({ length: last }, (_, index) => index + 1);
}

void test('a monitor takes what lies in the queue and what comes, in order, and what it releases is released', async (t) => {
  const queue = openQueue(t);
  for (let seq = 1; seq <= 50; seq++) await queue.append([makeBatch([seq], 5_000)]);
  const { monitor, seqs, failures, reports } = makeMonitor(queue);
  await monitor.start();
  for (let seq = 51; seq <= 300; seq++) await queue.append([makeBatch([seq], seq * 10)]);
  await until(() => queue.records === 0);
  t.strictSame(seqs, upTo(300));
  await monitor.stop();
  t.match(reports.at(-1), { stopped: 1 }, 'it ends by itself, not by force');
  t.strictSame(failures, []);
});

void test('what is appended while the thread starts is not left lying', async (t) => {
  const queue = openQueue(t);
  const { monitor, seqs } = makeMonitor(queue);
  const starting = monitor.start();
  const appends = upTo(30).map((seq) => queue.append([makeBatch([seq])]));
  await Promise.all([starting, ...appends]);
  await until(() => queue.records === 0);
  t.strictSame(seqs, upTo(30));
  await monitor.stop();
});

void test('a damaged batch is passed over, set aside and counted', async (t) => {
  const path = join(testDirectory(t), 'queue');
  const first = Queue.open(path, queueOptions());
  for (let seq = 1; seq <= 10; seq++) await first.append([makeBatch([seq], 300)]);
  await first.close();
  damagePayload(path, 4);
  const queue = Queue.open(path, queueOptions());
  const { monitor, seqs } = makeMonitor(queue);
  await monitor.start();
  await until(() => queue.records === 0);
  t.strictSame(
    seqs,
    upTo(10).filter((seq) => seq !== 4),
  );
  t.match(queue.stats(), { quarantined: 1, bytes: 0 });
  t.equal(readdirSync(join(path, 'quarantine')).length, 1);
  await monitor.stop();
  await queue.close();
});

void test('a thread that dies or ends by itself is a failure of its process', async (t) => {
  for (const [how, message] of [
    ['throw', /the link is of another world/],
    ['return', /the test thread ended by itself with code 0/],
    ['exit', /the test thread ended by itself with code 3/],
  ] as const) {
    const queue = Queue.open(join(testDirectory(t), how), queueOptions());
    const { monitor, failures } = makeMonitor(queue, how);
    await monitor.start();
    await until(() => failures.length > 0);
    t.match(failures[0], { message });
    await monitor.stop();
    await queue.close();
  }
});

void test('threads come and go beside their writer many times', async (t) => {
  const queue = openQueue(t);
  for (let round = 1; round <= 6; round++) {
    const { monitor, seqs, failures } = makeMonitor(queue);
    const appending = Promise.all(upTo(20).map((seq) => queue.append([makeBatch([seq], 3_000)])));
    await monitor.start();
    await appending;
    await until(() => queue.records === 0);
    t.strictSame([seqs, failures], [upTo(20), []]);
    await monitor.stop();
  }
});

void test('a monitor that was never started stops', async (t) => {
  const { monitor } = makeMonitor(openQueue(t));
  await monitor.stop();
  t.pass();
});
