/** An operator's hands on a running pipeline: `holdfast status` and `holdfast queue rewind`. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import t from 'tap';
import { edgeFields } from '../services/edge/config.js';
import { liveFields } from '../services/live/config.js';
import { rewindFields } from '../services/queue/rewind-command.js';
import type { Rewind } from '../services/queue/rewind.js';
import { routerFields } from '../services/router/config.js';
import { shadowFields } from '../services/shadow/config.js';
import { statusFields } from '../services/status/command.js';
import type { Status } from '../services/status/status.js';
import { storageFields } from '../services/storage/config.js';
import { inheritedEnvironment } from '../shared/config.js';
import { Device } from '../shared/device.js';
import { packagePath } from '../shared/paths.js';
import { runHoldfast, type Ended } from './support/holdfast.js';
import { Pipeline } from './support/pipeline.js';
import { until } from './support/processes.js';
import { countRows, query } from './support/storage.js';

const ROUNDS = 20;
const ROUND_RECORDS = 50;

/** Runs `holdfast status --watch` until it has written so many lines, and interrupts it as Ctrl-C does. */
async function watch(
  environment: Readonly<Record<string, string>>,
  words: readonly string[],
  count: number,
): Promise<{ readonly code: number | null; readonly lines: readonly string[] }> {
  const cli = packagePath('dist', 'services', 'cli.js');
  const env = { ...inheritedEnvironment(), ...environment };
  const watching = spawn(process.execPath, [cli, 'status', '--watch', ...words], {
    env,
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const closed = once(watching, 'close') as Promise<[number | null]>;
  let text = '';
  watching.stdout.on('data', (chunk: Buffer) => (text += chunk.toString()));
  await until(() => text.split('\n').length > count);
  watching.kill('SIGINT');
  const [code] = await closed;
  return { code, lines: text.trimEnd().split('\n') };
}

void t.test('status and rewind know services by the keys and defaults that these have', (t) => {
  const admin = [edgeFields, routerFields, shadowFields, liveFields].map(({ adminListen }) => adminListen);
  for (const { key, fallback } of [...admin, storageFields.admin]) {
    const known = Object.values(statusFields).find((field) => field.key === key);
    t.equal(known?.fallback, fallback, key);
  }
  for (const [mine, theirs] of [
    [rewindFields.database, storageFields.url],
    [rewindFields.router, storageFields.fetch],
  ] as const) {
    t.strictSame([mine.key, mine.fallback], [theirs.key, theirs.fallback]);
  }
  t.end();
});

await t.test('status tells of every hop, and rewind has storage read again', async (t) => {
  const pipeline = await Pipeline.start({ environment: { ROUTER_RETAIN: '1GiB' } });
  t.teardown(() => pipeline.stop());
  const { environment, postgres, services } = pipeline;
  const { edge, router, storage } = services;
  const run = (...words: string[]): Promise<Ended> => runHoldfast(words, environment);
  const status = async (...words: string[]): Promise<{ code: number; status: Status }> => {
    const { code, stdout } = await run('status', '--interval', '20ms', '--json', ...words);
    return { code, status: JSON.parse(stdout) as Status };
  };

  const device = new Device({ url: pipeline.edgeUrl, id: 'press-1' });
  device.connect();
  let middle = '';
  for (let round = 1; round <= ROUNDS; round++) {
    if (round === ROUNDS / 2) {
      // The time of a rewind is that of the commit at the router.
      await until(async () => (await edge.metric('holdfast_queue_records')) === 0);
      middle = new Date().toISOString();
    }
    for (let count = 0; count < ROUND_RECORDS; count++) device.send({ n: count });
    await device.flushed();
  }
  await device.close();
  const all = ROUNDS * ROUND_RECORDS;
  await until(async () => (await router.metric('holdfast_queue_records')) === 0);
  await until(async () => (await countRows(postgres.url)).rows === all);

  const ready = await status('--only', 'edge,router,storage');
  t.equal(ready.code, 0);
  t.match(ready.status, {
    ready: true,
    lagBatches: { storage: 0 },
    hops: [
      { service: 'edge', state: 'ready', backlogRecords: 0, inPerSecond: 0 },
      { service: 'router', state: 'ready', backlogRecords: 0 },
      { service: 'storage', state: 'ready', lagBatches: 0 },
    ],
  });
  const table = await run('status', '--interval', '20ms', '--only', 'edge,storage');
  t.match(table.stdout, /^service +state +in\/s +out\/s +backlog +bytes +oldest +lag\nedge +ready .*\nstorage +ready /);
  t.equal((await status()).code, 1, 'shadow and live are not there');
  const edgeAdmin = `127.0.0.1:${edge.adminPort}`;
  const edges = await status('--only', 'edge', '--edge', edgeAdmin, '--edge', '127.0.0.1:1');
  t.match(edges.status, {
    hops: [
      { address: edgeAdmin, state: 'ready' },
      { address: '127.0.0.1:1', state: 'away' },
    ],
  });
  const watched = await watch(environment, ['--only', 'edge,router,storage', '--json', '--interval', '20ms'], 3);
  t.equal(watched.code, 0, 'interrupted while all is well');
  for (const line of watched.lines) t.match(JSON.parse(line), { ready: true, lagBatches: { storage: 0 } });

  const busy = await run('queue', 'rewind', 'storage', '--to', middle);
  t.equal(busy.code, 1);
  t.match(busy.stderr, /storage is connected to its database: stop it first/);

  await storage.end();
  const away = await status('--only', 'router,storage');
  t.equal(away.code, 1);
  t.match(away.status.hops[1], { state: 'away', reason: /ECONNREFUSED/ });

  const rewind = async (to: string): Promise<Rewind> => {
    const { stdout, stderr } = await run('queue', 'rewind', 'storage', '--to', to, '--json');
    if (stdout === '') throw new Error(stderr);
    return JSON.parse(stdout) as Rewind;
  };
  // Rows that are lost show that they are read again; those that are there show that they are not stored twice.
  await query(postgres.url, 'delete from telemetry where seq % 2 = 0');
  const byTime = await rewind(middle);
  t.not(byTime.to, '0:0');
  t.equal(byTime.from, byTime.head);
  await storage.start();
  await until(async () => (await storage.metric('holdfast_duplicates_total')) > 0);
  const position = async (): Promise<string> => {
    const rows = await query<{ at: string }>(
      postgres.url,
      `select epoch || ':' || "offset" as at from consumer_positions`,
    );
    return rows[0]!.at;
  };
  await until(async () => (await position()) === byTime.head);
  const late = await query<{ seq: number }>(
    postgres.url,
    'select seq::int from telemetry where seq % 2 = 0 order by seq',
  );
  const firstLate = (ROUNDS / 2 - 1) * ROUND_RECORDS + 2;
  t.strictSame(
    late.map(({ seq }) => seq),
    Array.from({ length: (all - firstLate) / 2 + 1 }, (_, index) => firstLate + 2 * index),
    'what the router committed since that time, and nothing before it',
  );

  await storage.end();
  t.match((await run('queue', 'rewind', 'storage', '--to', byTime.head)).stderr, /a rewind goes back/);
  t.match(await rewind('0:0'), { to: '0:0', from: byTime.head });
  await storage.start();
  await until(async () => (await countRows(postgres.url)).rows === all);
  t.strictSame(await countRows(postgres.url), { rows: all, distinct: all });

  await storage.end();
  const live = await run('queue', 'rewind', 'live', '--to', '0:0');
  t.equal(live.code, 78);
  t.match(live.stderr, /"live" cannot be rewound/);
  await router.end();
  const noRouter = await run('queue', 'rewind', 'storage', '--to', '0:0');
  t.equal(noRouter.code, 1);
  t.match(noRouter.stderr, /its consumer endpoint, cannot be asked/);
});
