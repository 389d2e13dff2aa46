import { connect, createServer } from 'node:net';
import { once } from 'node:events';
import { closeSync, openSync } from 'node:fs';
import { test, type Test } from 'tap';
import { freePorts } from '../test/support/processes.js';
import { Admin } from './admin.js';
import { createRegistry, Gauge, registerQueueGauges } from './metrics.js';

async function startAdmin(t: Test, waiting: string[]): Promise<string> {
  const [port] = await freePorts(1);
  const registry = createRegistry('test');
  registerQueueGauges(registry, 'uplink', () => ({
    records: 3,
    bytes: 300,
    quotaBytes: 1_000,
    oldestSeconds: 1.5,
    fileBytes: 4_096,
    retainedBytes: 7,
    quarantined: 1,
  }));
  const admin = new Admin({ host: '127.0.0.1', port: port! }, registry, () => waiting);
  await admin.start();
  t.teardown(() => admin.stop());
  return `http://127.0.0.1:${port!}`;
}

// First, because connections of other tests close when they like.
const elsewhere = process.platform !== 'linux' && 'Linux alone has /proc';
void test('the number of open files counts every one', { skip: elsewhere }, async (t) => {
  const registry = createRegistry('test');
  const count = async (): Promise<number> => {
    const text = await registry.getSingleMetricAsString('holdfast_process_open_fds');
    return Number(/^holdfast_process_open_fds.* (\d+)$/m.exec(text)![1]);
  };
  const before = await count();
  const files = Array.from({ length: 100 }, () => openSync('/dev/null', 'r'));
  t.equal((await count()) - before, 100);
  files.forEach((file) => closeSync(file));
  t.equal(await count(), before);
});

void test('readiness says what is missing, until nothing is; health does not care', async (t) => {
  const waiting = ['database', 'router'];
  const url = await startAdmin(t, waiting);
  const ready = async (): Promise<[number, unknown]> => {
    const response = await fetch(`${url}/readyz`);
    return [response.status, await response.json()];
  };
  t.strictSame(await ready(), [503, { ready: false, waiting: ['database', 'router'] }]);
  t.equal((await fetch(`${url}/healthz`)).status, 200);
  waiting.length = 0;
  t.strictSame(await ready(), [200, { ready: true, waiting: [] }]);
  t.equal((await fetch(`${url}/readyz?verbose`)).status, 200);
});

void test('metrics are in the text format of Prometheus, each with its service', async (t) => {
  const url = await startAdmin(t, []);
  const response = await fetch(`${url}/metrics`);
  t.match(response.headers.get('content-type'), /^text\/plain; version=0.0.4/);
  const text = await response.text();
  for (const [name, value] of Object.entries({
    records: 3,
    bytes: 300,
    quota_bytes: 1_000,
    oldest_seconds: 1.5,
    file_bytes: 4_096,
    retained_bytes: 7,
    quarantined_batches: 1,
  })) {
    t.match(text, `holdfast_queue_${name}{queue="uplink",service="test"} ${value}`);
  }
  const names = text.split('\n').filter((line) => line !== '' && !line.startsWith('#'));
  t.ok(names.every((line) => line.startsWith('holdfast_')));
});

void test('only GET and HEAD of what is there are answered', async (t) => {
  const url = await startAdmin(t, []);
  t.equal((await fetch(`${url}/`)).status, 404);
  t.equal((await fetch(`${url}/metrics/x`)).status, 404);
  t.equal((await fetch(`${url}/metrics`, { method: 'POST', body: 'x' })).status, 405);
  const head = await fetch(`${url}/healthz`, { method: 'HEAD' });
  t.equal(head.status, 200);
  t.equal(await head.text(), '');
});

void test('a metric that fails answers 500 and ends nothing', async (t) => {
  const [port] = await freePorts(1);
  const registry = createRegistry('test');
  new Gauge({
    name: 'holdfast_broken',
    help: 'x',
    registers: [registry],
    collect: () => {
      throw new Error('the queue is closed');
    },
  });
  const admin = new Admin({ host: '127.0.0.1', port: port! }, registry, () => []);
  await admin.start();
  t.teardown(() => admin.stop());
  const response = await fetch(`http://127.0.0.1:${port!}/metrics`);
  t.equal(response.status, 500);
  t.match(await response.text(), 'the queue is closed');
  t.equal((await fetch(`http://127.0.0.1:${port!}/healthz`)).status, 200);
});

void test('a port that is taken is an error with its address', async (t) => {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(() => server.close());
  const { port } = server.address() as { port: number };
  const admin = new Admin({ host: '127.0.0.1', port }, createRegistry('test'), () => []);
  await t.rejects(admin.start(), { code: 'listen_failed', retry: true, message: new RegExp(`127.0.0.1:${port}`) });
});

void test('it stops at once, also while a client holds a connection open', async (t) => {
  const [port] = await freePorts(1);
  const admin = new Admin({ host: '127.0.0.1', port: port! }, createRegistry('test'), () => []);
  await admin.start();
  const client = connect(port!, '127.0.0.1');
  client.on('error', () => undefined);
  const closed = new Promise((resolve) => client.on('close', resolve));
  await once(client, 'connect');
  client.write('GET /metrics HTTP/1.1\r\n');
  await admin.stop();
  await closed;
  t.pass();
});
