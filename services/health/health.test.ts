import { once } from 'node:events';
import { createServer } from 'node:http';
import { spawn } from 'node:child_process';
import { test, type Test } from 'tap';
import { Admin } from '../../shared/admin.js';
import { address } from '../../shared/config.js';
import { packagePath } from '../../shared/paths.js';
import { createRegistry } from '../../shared/metrics.js';
import { freePort } from '../../test/support/ports.js';
import { adminOf, askHealth, serviceOf } from './health.js';

async function startAdmin(t: Test, waiting: readonly string[]): Promise<number> {
  const port = await freePort();
  const admin = new Admin({ host: '0.0.0.0', port }, createRegistry('test'), () => waiting);
  await admin.start();
  t.teardown(() => admin.stop());
  return port;
}

async function holdfast(
  args: readonly string[],
  environment: Readonly<Record<string, string>>,
): Promise<[number, string]> {
  const child = spawn(process.execPath, [packagePath('dist', 'services', 'cli.js'), ...args], { env: environment });
  let output = '';
  child.stdout.on('data', (chunk: Buffer) => (output += chunk.toString()));
  child.stderr.on('data', (chunk: Buffer) => (output += chunk.toString()));
  const [code] = (await once(child, 'close')) as [number];
  return [code, output];
}

void test('the service is the word after holdfast in the command line of process 1', (t) => {
  const lines: readonly (readonly [string, string])[] = [
    ['tini\0--\0holdfast\0edge\0', 'edge'],
    ['/usr/bin/tini\0--\0holdfast\0router\0', 'router'],
    ['/sbin/docker-init\0--\0tini\0--\0holdfast\0live\0', 'live'],
    ['tini\0--\0/usr/local/bin/holdfast\0storage\0', 'storage'],
  ];
  for (const [line, service] of lines) t.equal(serviceOf(Buffer.from(line)), service);
  for (const line of ['', 'tini\0--\0sh\0', '/sbin/init\0', 'tini\0--\0holdfast\0']) {
    t.throws(() => serviceOf(Buffer.from(line)), { code: 'bad_config' }, JSON.stringify(line));
  }
  t.end();
});

void test('a service without an admin endpoint is said to have none', (t) => {
  const fields = { edge: address('HOLDFAST_TEST_ADMIN', '127.0.0.1:7309', 'a test') };
  t.strictSame(adminOf(fields, 'edge'), { host: '127.0.0.1', port: 7309 });
  for (const name of ['demo', 'constructor', '']) t.throws(() => adminOf(fields, name), { code: 'bad_config' }, name);
  t.end();
});

void test('holdfast health exits with 0 where the service answers, on whatever port its key says', async (t) => {
  const port = await startAdmin(t, ['the router']);
  const environment = { LIVE_ADMIN_LISTEN: `0.0.0.0:${port}` };
  t.strictSame(await holdfast(['health', 'live'], environment), [0, '{"healthy":true}\n']);
  const [code, output] = await holdfast(['health', 'live', '--ready'], environment);
  t.equal(code, 1);
  t.match(output, /answers 503: .*the router/);
});

void test('holdfast health exits with 1 where nobody answers, or who answers does not reply', async (t) => {
  const port = await freePort();
  const [code, output] = await holdfast(['health', 'edge'], { EDGE_ADMIN_LISTEN: `127.0.0.1:${port}` });
  t.equal(code, 1);
  t.match(output, /does not answer/);

  const silent = createServer(() => undefined);
  silent.listen(0, '127.0.0.1');
  await once(silent, 'listening');
  t.teardown(() => {
    silent.closeAllConnections();
    silent.close();
  });
  const { port: silentPort } = silent.address() as { port: number };
  await t.rejects(askHealth({ host: '127.0.0.1', port: silentPort }, '/healthz'), { code: 'unhealthy' });
});
