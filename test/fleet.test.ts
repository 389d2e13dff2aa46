/** A small fleet against the real pipeline: what it is acked is in the database, and its verifier sees what is not. */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import t, { type Test } from 'tap';
import type { FleetResult } from '../services/fleet/status.js';
import { inheritedEnvironment } from '../shared/config.js';
import { packagePath } from '../shared/paths.js';
import { testDirectory } from './support/directory.js';
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

  constructor(words: readonly string[]) {
    const all = ['fleet', '--edge', pipeline.edgeUrl, '--json', '--verify', ...words];
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

/** A shell that has a terminal as its input, which `holdfast fleet` takes its commands from. */
const ON_TERMINAL = 'exec "$TEST_NODE" $TEST_WORDS >"$TEST_STDOUT" 2>"$TEST_STDERR"';

const STATUS_MS = 200;

/** `holdfast fleet` on a terminal: what is typed comes when the fleet has got where the test wants it, however slow it is. */
class TypedFleet {
  readonly #child: ChildProcess;

  private constructor(
    words: readonly string[],
    readonly devices: number,
    private readonly files: { readonly stdout: string; readonly stderr: string },
  ) {
    const cli = packagePath('dist', 'services', 'cli.js');
    this.#child = spawn('script', ['--quiet', '--return', '--command', ON_TERMINAL, '/dev/null'], {
      env: {
        ...inheritedEnvironment(),
        FLEET_DEVICE_SECRET: SECRET,
        FLEET_DATABASE_URL: pipeline.postgres.url,
        TEST_NODE: process.execPath,
        TEST_WORDS: [cli, 'fleet', '--json', '--verify', '--devices', String(devices), ...words].join(' '),
        TEST_STDOUT: files.stdout,
        TEST_STDERR: files.stderr,
      },
      stdio: ['pipe', 'ignore', 'inherit'],
    });
  }

  static async start(t: Test, devices: number, words: readonly string[]): Promise<TypedFleet> {
    const directory = testDirectory(t);
    const files = { stdout: join(directory, 'stdout'), stderr: join(directory, 'stderr') };
    await Promise.all(Object.values(files).map((file) => writeFile(file, '')));
    const fleet = new TypedFleet(words, devices, files);
    await fleet.has(/^fleet \w+: /m);
    return fleet;
  }

  type(word: string): void {
    this.#child.stdin!.write(`${word}\n`);
  }

  async said(): Promise<string> {
    return await readFile(this.files.stderr, 'utf8');
  }

  async has(pattern: RegExp): Promise<void> {
    await until(async () => {
      if (this.#child.exitCode !== null) throw new Error(`the fleet has ended: ${await this.said()}`);
      return pattern.test(await this.said());
    });
  }

  /** Asks for its status until the newest says that so many are up. */
  async isUp(devices: number): Promise<void> {
    await until(async () => {
      this.type('status');
      await sleep(STATUS_MS);
      const newest = (await this.said()).match(/ up \d+\/\d+/g)?.at(-1);
      return newest === ` up ${devices}/${this.devices}`;
    });
  }

  async result(): Promise<{ code: number | null; result: FleetResult }> {
    if (this.#child.exitCode === null) await once(this.#child, 'exit');
    const json = await readFile(this.files.stdout, 'utf8');
    if (json === '') throw new Error(await this.said());
    return { code: this.#child.exitCode, result: JSON.parse(json) as FleetResult };
  }
}

const WAYS = [
  ['binary', pipeline.edgeUrl, 200],
  ['json', pipeline.edgeUrl, 200],
  ['mqtt', `mqtt://127.0.0.1:${mqttPort}`, 40],
  ['http', pipeline.edgeUrl.replace('ws:', 'http:'), 40],
  ['udp', `udp://127.0.0.1:${pipeline.udpPort}`, 40],
] as const;

for (const [protocol, edgeUrl, devices] of WAYS) {
  const promise = 'through an outage and the death of the edge each acked record is stored once';
  void t.test(`${promise}, by ${protocol}`, async (t) => {
    const words = ['--edge', edgeUrl, '--interval', '100ms', '--ramp', '500ms', '--protocol', protocol];
    const fleet = await TypedFleet.start(t, devices, words);
    await fleet.isUp(devices);
    fleet.type('offline');
    await fleet.has(/^.*offline: every connection is cut/m);
    await fleet.isUp(0);
    fleet.type('online');
    await fleet.isUp(devices);
    const { edge } = pipeline.services;
    await edge.end('SIGKILL');
    await edge.start();
    await fleet.isUp(devices);
    fleet.type('quit');
    const { code, result } = await fleet.result();
    t.equal(code, 0, await fleet.said());
    t.match(result.verification, { lost: 0, twice: 0, acked: result.counters.acked });
    t.match(result.counters, { buffered: 0, dropped: 0, refused: 0, acked: result.counters.made });
    t.ok(result.counters.made > 5 * devices, `${result.counters.made} records`);
    t.ok(result.counters.reconnects >= devices, `${result.counters.reconnects} reconnects`);
  });
}

void t.test('a script says when a fleet goes offline and when it ends', async (t) => {
  const script = '200ms offline; 400ms status; 600ms online; 3s quit';
  const fleet = new RunningFleet(['--devices', '20', '--interval', '100ms', '--ramp', '0s', '--script', script]);
  const { code, result } = await fleet.result();
  t.equal(code, 0, fleet.stderr);
  t.match(fleet.stderr, /offline: every [^]* up \d+\/20 \(offline\) [^]*online: every /);
  t.match(result, { verification: { lost: 0, twice: 0 }, counters: { buffered: 0 } });
});

void t.test('several processes are one fleet, and SIGTERM ends it with its table', async (t) => {
  const fleet = new RunningFleet(['--devices', '200', '--interval', '100ms', '--ramp', '500ms', '--processes', '3']);
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
  const words = ['--devices', '10', '--interval', '100ms', '--ramp', '0s', '--verify-wait', '2s'];
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
  planted.signal('SIGTERM');
  const { code, result } = await planted.result();
  t.equal(code, 1);
  t.match(result.verification, { lost: 1, twice: 1 });
  t.strictSame(result.verification?.examples, [`fleet-${result.run}-7: 1 lost`, `fleet-${result.run}-9: 1 twice`]);
});

void t.test('a fleet without the secret is told so, and ends', async (t) => {
  const { code, stderr } = await runHoldfast(['fleet', '--edge', pipeline.edgeUrl, '--devices', '5', '--ramp', '0s']);
  t.equal(code, 1);
  t.match(stderr, /does not let device fleet-\w+-\d in: the edge answered 401/);
  for (const [protocol, edgeUrl] of WAYS.slice(2, 4)) {
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
