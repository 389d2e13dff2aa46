/** A small fleet against the real pipeline: what it is acked is in the database, and its verifier sees what is not. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import type { FleetResult } from '../services/fleet/status.js';
import { inheritedEnvironment } from '../shared/config.js';
import { packagePath } from '../shared/paths.js';
import { runHoldfast } from './support/holdfast.js';
import { Pipeline } from './support/pipeline.js';
import { freePort } from './support/ports.js';
import { until } from './support/processes.js';
import { query } from './support/storage.js';

const SECRET = 'a secret of the fleet';

const mqttPort = await freePort();
const pipeline = await Pipeline.start({
  environment: { EDGE_DEVICE_SECRET: SECRET, EDGE_MQTT_LISTEN: `127.0.0.1:${mqttPort}` },
});
t.teardown(() => pipeline.stop());

/** `holdfast fleet` while it runs. */
class RunningFleet {
  readonly #child;
  #stdout = '';
  stderr = '';

  constructor(words: readonly string[], edge = pipeline.edgeUrl) {
    const all = ['fleet', '--edge', edge, '--json', '--verify', ...words];
    this.#child = spawn(process.execPath, [packagePath('dist', 'services', 'cli.js'), ...all], {
      env: { ...inheritedEnvironment(), FLEET_DEVICE_SECRET: SECRET, FLEET_DATABASE_URL: pipeline.postgres.url },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    this.#child.stdout.on('data', (chunk: Buffer) => (this.#stdout += chunk.toString()));
    this.#child.stderr.on('data', (chunk: Buffer) => (this.stderr += chunk.toString()));
  }

  /** As in its devices' ids; undefined: it has not said so yet. */
  get run(): string | undefined {
    return /^fleet (\w+): /m.exec(this.stderr)?.[1];
  }

  signal(signal: NodeJS.Signals): void {
    this.#child.kill(signal);
  }

  async result(): Promise<{ code: number | null; result: FleetResult }> {
    if (this.#child.exitCode === null) await once(this.#child, 'exit');
    await until(() => this.#stdout.trimEnd().endsWith('}') || this.#child.stdout.destroyed);
    if (this.#stdout === '') throw new Error(this.stderr);
    return { code: this.#child.exitCode, result: JSON.parse(this.#stdout) as FleetResult };
  }
}

const FLEET = ['--devices', '200', '--interval', '100ms', '--ramp', '500ms'];

void t.test('an outage of the network and an edge killed in the middle lose nothing and double nothing', async (t) => {
  for (const protocol of ['binary', 'json']) {
    const script = '1s offline; 2s online; 2500ms status; 5s quit';
    const fleet = new RunningFleet([...FLEET, '--protocol', protocol, '--script', script]);
    await until(() => fleet.stderr.includes('reconnects 200') || fleet.stderr.includes('online: every'));
    const { edge } = pipeline.services;
    await edge.end('SIGKILL');
    await edge.start();
    const { code, result } = await fleet.result();
    t.equal(code, 0, fleet.stderr);
    t.match(result.verification, { lost: 0, twice: 0, acked: result.counters.acked });
    t.match(result.counters, { buffered: 0, dropped: 0, refused: 0, acked: result.counters.made });
    t.ok(result.counters.made > 3_000, `${result.counters.made} records`);
    t.ok(result.counters.reconnects >= 200);
    t.match(fleet.stderr, /\d s {2}up \d+\/200 .*acked \d+\/s/);
  }
});

const WAYS = [
  ['mqtt', `mqtt://127.0.0.1:${mqttPort}`],
  ['http', pipeline.edgeUrl.replace('ws:', 'http:')],
  ['udp', `udp://127.0.0.1:${pipeline.udpPort}`],
] as const;

for (const [protocol, edgeUrl] of WAYS) {
  void t.test(
    `through an outage and the death of the edge each acked record is stored once, by ${protocol}`,
    async (t) => {
      const words = ['--devices', '40', '--interval', '100ms', '--ramp', '200ms', '--protocol', protocol];
      const script = '800ms offline; 1600ms online; 2s status; 5s quit';
      const fleet = new RunningFleet([...words, '--script', script], edgeUrl);
      await until(() => fleet.stderr.includes('online: every'));
      const { edge } = pipeline.services;
      await edge.end('SIGKILL');
      await edge.start();
      const { code, result } = await fleet.result();
      t.equal(code, 0, fleet.stderr);
      t.match(result.verification, { lost: 0, twice: 0, acked: result.counters.acked });
      t.match(result.counters, { buffered: 0, dropped: 0, refused: 0, acked: result.counters.made });
      t.ok(result.counters.made > 500, `${result.counters.made} records`);
      t.ok(result.counters.reconnects >= 40);
    },
  );
}

void t.test('several processes are one fleet, and SIGTERM ends it with its table', async (t) => {
  const fleet = new RunningFleet([...FLEET, '--processes', '3']);
  await until(() => fleet.run !== undefined);
  const devices = 'select count(distinct device_id)::int as devices from telemetry where device_id like $1';
  // A device that is connected may not have made its first record yet.
  await until(async () => {
    const [found] = await query<{ devices: number }>(pipeline.postgres.url, devices, [`fleet-${fleet.run}-%`]);
    return found?.devices === 200;
  });
  fleet.signal('SIGTERM');
  const { code, result } = await fleet.result();
  t.equal(code, 0, fleet.stderr);
  t.match(result, { processes: 3, verification: { lost: 0, twice: 0 }, counters: { buffered: 0 } });
});

void t.test('a row that is deleted and a row that is planted are found', async (t) => {
  const { url } = pipeline.postgres;
  const words = ['--devices', '10', '--interval', '100ms', '--ramp', '0s', '--duration', '3s', '--verify-wait', '2s'];
  const planted = new RunningFleet(words);
  const rows = `from telemetry where device_id like 'fleet-' || $1 || '-%'`;
  await until(() => planted.run !== undefined);
  await until(async () => {
    const sql = `select device_id ${rows} and (device_id like '%-7' and seq = 2 or device_id like '%-9' and seq = 3)`;
    return (await query(url, sql, [planted.run])).length === 2;
  });
  await query(url, `delete ${rows} and device_id like '%-7' and seq = 2`, [planted.run]);
  await query(
    url,
    `insert into telemetry (time, device_id, seq, received, data)
     select time + interval '1 ms', device_id, seq, received, data ${rows} and device_id like '%-9' and seq = 3`,
    [planted.run],
  );
  const { code, result } = await planted.result();
  t.equal(code, 1);
  t.match(result.verification, { lost: 1, twice: 1 });
  t.strictSame(result.verification?.examples, [`fleet-${result.run}-7: 1 lost`, `fleet-${result.run}-9: 1 twice`]);
});

void t.test('a fleet without the secret is told so, and ends', async (t) => {
  const { code, stderr } = await runHoldfast(['fleet', '--edge', pipeline.edgeUrl, '--devices', '5', '--ramp', '0s']);
  t.equal(code, 1);
  t.match(stderr, /does not let device fleet-\w+-\d in: the edge answered 401/);
  for (const [protocol, edgeUrl] of WAYS.slice(0, 2)) {
    const words = ['--protocol', protocol, '--edge', edgeUrl, '--devices', '5', '--ramp', '0s'];
    const other = await runHoldfast(['fleet', ...words]);
    t.equal(other.code, 1);
    t.match(other.stderr, /does not let device fleet-\w+-\d in: the edge answered/, protocol);
  }
  const unfit = await runHoldfast(['fleet', '--protocol', 'udp', '--edge', pipeline.edgeUrl]);
  t.equal(unfit.code, 78);
  t.match(unfit.stderr, /--edge ws:.*: allowed with --protocol udp: udp:\/\/host:port/);
  const bad = await runHoldfast(['fleet', '--devices', 'many']);
  t.equal(bad.code, 78);
  t.match(bad.stderr, /--devices many: allowed/);
});

void t.test('a burst runs against a pipeline of its own, writes its report, and leaves nothing behind', async (t) => {
  const directory = await mkdtemp(join(tmpdir(), 'holdfast-burst-'));
  t.teardown(() => rm(directory, { recursive: true, force: true }));
  const times = ['--ramp', '500ms', '--normal', '1s', '--outage', '2s', '--recovery', '2s', '--interval', '100ms'];
  const places = ['--report', join(directory, 'report'), '--data', join(directory, 'data')];
  const { code, stderr } = await runHoldfast(['fleet', 'burst', '--devices', '100', ...times, ...places], {
    FLEET_DEVICE_SECRET: SECRET,
  });
  t.equal(code, 0, stderr);
  const markdown = await readFile(join(directory, 'report', 'burst.md'), 'utf8');
  t.match(markdown, '| acked records that are lost | 0 | 0 | met |');
  t.match(markdown, '| records twice in PostgreSQL | 0 | 0 | met |');
  t.match(await readFile(join(directory, 'report', 'burst.svg'), 'utf8'), /^<svg/);
  const json = await readFile(join(directory, 'report', 'burst.json'), 'utf8');
  t.notMatch(json, SECRET);
  const report = JSON.parse(json) as { backlog: number; points: { stored: number; acked: number }[] };
  t.ok(report.backlog > 1_000, `${report.backlog} records were kept`);
  t.ok(report.points.at(-1)!.stored > 0);
});
