import { once } from 'node:events';
import { spawn } from 'node:child_process';
import { test } from 'tap';
import { inheritedEnvironment } from '../../shared/config.js';
import { CONFIG_EXIT_CODE } from '../../shared/lifecycle.js';
import { packagePath } from '../../shared/paths.js';
import { testDirectory } from '../../test/support/directory.js';

interface Ended {
  readonly code: number | null;
  readonly output: string;
}

/** Runs an edge whose keys are wrong: it ends by itself. */
async function runEdge(keys: Readonly<Record<string, string>>): Promise<Ended> {
  const child = spawn(process.execPath, [packagePath('dist', 'services', 'cli.js'), 'edge'], {
    env: { ...inheritedEnvironment(), ...keys },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.on('data', (chunk: Buffer) => (output += chunk.toString()));
  }
  const [code] = (await once(child, 'close')) as [number | null];
  return { code, output };
}

void test('without a secret the edge refuses to listen for others, with exit code 78', async (t) => {
  for (const listen of ['0.0.0.0:0', '[::]:0', '192.0.2.1:7300', 'edge.example:7300']) {
    const queue = `${testDirectory(t)}/queue`;
    const { code, output } = await runEdge({ EDGE_LISTEN: listen, EDGE_QUEUE: queue });
    t.equal(code, CONFIG_EXIT_CODE);
    t.match(output, /EDGE_LISTEN=\S+ is open to others: set EDGE_DEVICE_SECRET, or listen on 127\.0\.0\.1/);
  }
  const { code, output } = await runEdge({ EDGE_MQTT_LISTEN: '0.0.0.0:0', EDGE_QUEUE: `${testDirectory(t)}/queue` });
  t.equal(code, CONFIG_EXIT_CODE);
  t.match(output, /EDGE_MQTT_LISTEN=\S+ is open to others: set EDGE_DEVICE_SECRET/);
});

void test('without a secret the edge refuses datagrams of others too', async (t) => {
  const keys = { EDGE_LISTEN: '127.0.0.1:0', EDGE_QUEUE: `${testDirectory(t)}/queue` };
  const { code, output } = await runEdge({ ...keys, EDGE_UDP_LISTEN: '0.0.0.0:0' });
  t.equal(code, CONFIG_EXIT_CODE);
  t.match(output, /EDGE_UDP_LISTEN=\S+ is open to others: set EDGE_DEVICE_SECRET/);
});

void test('every bad key is named at once, with its value and what is allowed; a secret is not shown', async (t) => {
  const { code, output } = await runEdge({
    EDGE_LISTEN: 'nowhere',
    EDGE_DEVICE_SECRET: 'too short',
    EDGE_QUOTA: '1MB',
    EDGE_JSON_DEPTH: '0',
    EDGE_RETRY_AFTER: '5',
    EDGE_VALIDATE_PAYLOADS: 'yes',
    EDGE_ROUTER: 'http://router:7310',
    EDGE_DOWNLINK: '127.0.0.1:7321',
    EDGE_ORIGINS: 'https://fine.example,*',
    EDGE_UDP_LISTEN: 'on',
    EDGE_WINDOWS: '1MiB',
  });
  t.equal(code, CONFIG_EXIT_CODE);
  for (const said of [
    /EDGE_LISTEN="nowhere" is not allowed; allowed: host:port/,
    /EDGE_DEVICE_SECRET=\(hidden\) is not allowed; allowed: at least 16 characters/,
    /EDGE_QUOTA="1MB" is not allowed; allowed: a size/,
    /EDGE_JSON_DEPTH="0" is not allowed; allowed: a whole number from 1/,
    /EDGE_RETRY_AFTER="5" is not allowed; allowed: a time/,
    /EDGE_VALIDATE_PAYLOADS="yes" is not allowed; allowed: true or false/,
    /EDGE_DOWNLINK="127\.0\.0\.1:7321" is not allowed; allowed: a ZeroMQ endpoint/,
    /EDGE_ROUTER="http:\/\/router:7310" is not allowed; allowed: a ZeroMQ endpoint/,
    /EDGE_ORIGINS="https:\/\/fine\.example,\*" is not allowed/,
    /EDGE_UDP_LISTEN="on" is not allowed; allowed: host:port, .*, or off/,
    /EDGE_WINDOWS is not a key of this service; its keys are EDGE_LISTEN, /,
  ]) {
    t.match(output, said);
  }
  t.notMatch(output, 'too short');
});

void test('limits that contradict each other are named', async (t) => {
  const { code, output } = await runEdge({
    EDGE_PAYLOAD_LIMIT: '64KiB',
    EDGE_FRAME_LIMIT: '32KiB',
    EDGE_WINDOW: '16KiB',
    EDGE_MEMORY: '1MiB',
  });
  t.equal(code, CONFIG_EXIT_CODE);
  t.match(output, /EDGE_PAYLOAD_LIMIT=65536 is over EDGE_FRAME_LIMIT=32768/);
  t.match(output, /EDGE_WINDOW=16384 is under EDGE_FRAME_LIMIT=32768/);
});

void test('a memory bound under the window is named', async (t) => {
  const { code, output } = await runEdge({ EDGE_WINDOW: '2MiB', EDGE_MEMORY: '1MiB' });
  t.equal(code, CONFIG_EXIT_CODE);
  t.match(output, /EDGE_MEMORY=1048576 is under EDGE_WINDOW=2097152/);
});
