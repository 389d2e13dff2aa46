import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { test } from 'tap';
import { Kind } from '../../shared/batch.js';
import { inheritedEnvironment } from '../../shared/config.js';
import { Session } from '../../shared/database.js';
import { packagePath } from '../../shared/paths.js';
import { deviceToken } from '../../shared/token.js';
import { TestPostgres } from '../../test/support/postgres.js';
import { WsEdge, type ReceivedRecord } from '../../test/support/ws-edge.js';
import { readEngines } from './engines.js';

void test('there are 90 engines on three sites with 18,380 rows as the data has them', (t) => {
  const engines = readEngines();
  t.equal(engines.length, 90);
  t.equal(
    engines.reduce((sum, { rows }) => sum + rows.length, 0),
    18_380,
  );
  const sites = new Map<string, number>();
  for (const { site } of engines) sites.set(site.name, (sites.get(site.name) ?? 0) + 1);
  t.same([...sites.values()], [30, 30, 30]);
  const row = JSON.parse(engines[0]!.rows[0]!.toString()) as Record<string, unknown>;
  t.match(row, {
    cycle: 1,
    settings: [-0.0007, -0.0004, 100],
    sensors: { T2: 518.67, T24: 641.82, W31: 39.06, W32: 23.419 },
  });
  t.equal(Object.keys(row['sensors'] as object).length, 21);
  t.end();
});

void test('the fleet fills table devices first, replays with rising seqs through a restart of the edge, and stops cleanly', async (t) => {
  const secret = 'a secret of the demo';
  const postgres = await TestPostgres.start();
  t.teardown(() => postgres.stop());
  const refusalFor = (device: string, authorization: string | undefined): { status: number } | undefined =>
    authorization === `Bearer ${deviceToken(secret, device)}` ? undefined : { status: 403 };
  let edge = await WsEdge.start({ refusalFor });
  t.teardown(() => edge.stop());
  const script = `await (await import(${JSON.stringify(packagePath('dist', 'services', 'demo', 'main.js'))})).main();`;
  const demo = spawn(process.execPath, ['--input-type=module', '-e', script], {
    env: {
      ...inheritedEnvironment(),
      DEMO_EDGE: edge.url,
      DEMO_INTERVAL: '50ms',
      DEMO_DEVICE_SECRET: secret,
      DEMO_DATABASE_URL: postgres.url,
      LOG_LEVEL: 'warn',
    },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  t.teardown(() => demo.kill('SIGKILL'));
  let said = '';
  demo.stdout.on('data', (data: Buffer) => (said += data.toString()));
  const exited = once(demo, 'exit');

  const session = await Session.open(postgres.url, 'test');
  t.equal(edge.connections, 0, 'nothing is sent before the engines are in the table');
  await session.client.query(
    'create table devices (device_id text primary key, type text, site text, latitude float8, longitude float8, labels jsonb)',
  );
  const enough = async (): Promise<void> => {
    while (new Set(edge.received.map(({ device }) => device)).size < 90 || edge.received.length < 500) await sleep(10);
  };
  await enough();
  const { rows } = await session.client.query<{ type: string; site: string; count: string }>(
    'select type, site, count(*), min(latitude) from devices group by 1, 2 having min(latitude) > 0 order by 2',
  );
  t.same(
    rows.map(({ type, site, count }) => [type, site, count]),
    [
      ['turbofan', 'hamburg', '30'],
      ['turbofan', 'seattle', '30'],
      ['turbofan', 'toulouse', '30'],
    ],
  );
  await session.close();

  const before: ReceivedRecord[] = edge.received;
  const { port } = edge;
  await edge.stop();
  edge = await WsEdge.start({ refusalFor }, port);
  await enough();
  demo.kill('SIGTERM');
  t.same(await exited, [0, null], said);
  t.equal(said, '', 'nothing was worth a warning');

  const engines = new Map(readEngines().map((engine) => [engine.id, engine]));
  const last = new Map<string, { seq: number; rows: number }>();
  for (const { device, seq, kind, payload } of [...before, ...edge.received]) {
    const previous = last.get(device) ?? { seq: 0, rows: 0 };
    // What was not acked when the edge died comes again; nothing is left out.
    if (seq > previous.seq + 1) t.fail(`${device}: ${seq} came after ${previous.seq}`);
    if (seq <= previous.seq) continue;
    const { rows } = engines.get(device)!;
    const isRow = kind === Kind.telemetry;
    if (isRow && payload !== rows[previous.rows % rows.length]!.toString()) {
      t.fail(`${device}: record ${seq} is not its row`);
    }
    last.set(device, { seq, rows: previous.rows + (isRow ? 1 : 0) });
  }
  t.equal(last.size, 90);
});
