/** Boards and alert rules ask for what is there: each query is put to a real Prometheus or PostgreSQL beside a pipeline. */
import { execFile, execFileSync, spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { test, type Test } from 'tap';
import { parse, stringify } from 'yaml';
import { Device } from '../shared/device.js';
import { packagePath } from '../shared/paths.js';
import type { TestRecord } from './support/deliveries.js';
import { LiveClient } from './support/live.js';
import { freePort } from './support/ports.js';
import { TestPostgres } from './support/postgres.js';
import { until } from './support/processes.js';
import { ShadowPipeline } from './support/shadow-pipeline.js';
import { batch, query, TestStorage, TIME } from './support/storage.js';
import { needsTimescale, refreshMinutes, timescaleDatabase } from './support/timescale.js';

interface Target {
  readonly expr?: string;
  readonly rawSql?: string;
}

interface Rule {
  readonly alert: string;
  readonly expr: string;
  readonly for: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly annotations?: Readonly<Record<string, string>>;
}

interface Rules {
  readonly groups: readonly { readonly name: string; readonly rules: readonly Rule[] }[];
}

const FOLDER = fileURLToPath(new URL('../../k8s/monitoring', import.meta.url));
const RULES_FILE = join(FOLDER, 'rules/holdfast.yaml');
const RULES = parse(readFileSync(RULES_FILE, 'utf8')) as Rules;
const ALERTS = RULES.groups.flatMap(({ rules }) => rules);
const TARGETS = readdirSync(join(FOLDER, 'dashboards')).flatMap((name) => {
  const board = JSON.parse(readFileSync(join(FOLDER, 'dashboards', name), 'utf8')) as {
    readonly panels: readonly { readonly title: string; readonly targets?: readonly Target[] }[];
    readonly templating: { readonly list: readonly { readonly query: string }[] };
  };
  const variables = board.templating.list.map(({ query }) => ({ name: `${name}, a variable`, rawSql: query }));
  const panels = board.panels.flatMap(({ title, targets = [] }) =>
    targets.map((target) => ({ name: `${name}, ${title}`, ...target })),
  );
  return [...variables, ...panels] as (Target & { readonly name: string })[];
});

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;

/** The queries of the database as Grafana sends them, with what it puts in place of its macro and the variable. */
function queriesOf(device: string, fromMs: number, toMs: number): { readonly name: string; readonly sql: string }[] {
  const [from, to] = [fromMs, toMs].map((timeMs) => new Date(timeMs).toISOString());
  const queries = TARGETS.flatMap(({ name, rawSql }) => {
    if (rawSql === undefined) return [];
    const sql = rawSql
      .replace(/\$__timeFilter\((\w+)\)/g, `$1 BETWEEN '${from}' AND '${to}'`)
      .replaceAll('${device:sqlstring}', `'${device}'`);
    return [{ name, sql }];
  });
  const unknown = queries.find(({ sql }) => sql.includes('$'));
  if (unknown !== undefined) throw new Error(`${unknown.name}: a macro that this test does not know: ${unknown.sql}`);
  return queries;
}

const installed = ['prometheus', 'promtool'].every((command) => {
  try {
    execFileSync(command, ['--version'], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
});
const options = installed ? {} : { skip: 'Prometheus is not installed: apt-get install prometheus' };

function makeDirectory(t: Test): string {
  const directory = mkdtempSync(join(tmpdir(), 'holdfast-monitoring-'));
  t.teardown(() => rmSync(directory, { recursive: true, force: true }));
  return directory;
}

void test('each alert has a section of the runbook', (t) => {
  const runbook = readFileSync(join(FOLDER, 'RUNBOOK.md'), 'utf8');
  for (const { alert, annotations = {} } of ALERTS) {
    t.match(runbook, new RegExp(`^## ${alert}$`, 'm'));
    t.equal(annotations['runbook_url'], `k8s/monitoring/RUNBOOK.md#${alert.toLowerCase()}`);
    t.ok(annotations['summary'] && annotations['description'], `${alert} is explained`);
  }
  t.end();
});

/** Series at a sample a minute that raise each alert within 40 minutes. */
const RAISED: Readonly<Record<string, readonly (readonly [string, string])[]>> = {
  HoldfastServiceDown: [['up{job="edge"}', '0x60']],
  HoldfastBacklogGrowing: [['holdfast_queue_records{job="edge"}', '0+1200x60']],
  HoldfastOldestRecordTooOld: [['holdfast_queue_oldest_seconds{job="edge"}', '0+60x60']],
  HoldfastQueueNearQuota: [
    ['holdfast_queue_bytes{job="edge"}', '81x60'],
    ['holdfast_queue_quota_bytes{job="edge"}', '100x60'],
  ],
  HoldfastConsumerStalled: [['holdfast_consumer_lag_batches{consumer="storage"}', '7x60']],
  HoldfastDeadLetters: [['holdfast_dead_letters_total{reason="payload"}', '0x35 1x25']],
  HoldfastNoReadings: [['holdfast_records_in_total{job="edge"}', '9x60']],
};
/** The same series where all is well: none of the alerts may be raised. */
const QUIET: readonly (readonly [string, string])[] = [
  ['up{job="edge"}', '1x60'],
  ['holdfast_queue_records{job="edge"}', '20000x60'],
  ['holdfast_queue_oldest_seconds{job="edge"}', '2x60'],
  ['holdfast_queue_bytes{job="edge"}', '79x60'],
  ['holdfast_queue_quota_bytes{job="edge"}', '100x60'],
  ['holdfast_consumer_lag_batches{consumer="storage"}', '100-2x60'],
  ['holdfast_dead_letters_total{reason="payload"}', '3x60'],
  ['holdfast_dead_letters_total{reason="database"}', '0x60'],
  ['holdfast_records_in_total{job="edge"}', '0+9x60'],
];

void test('alerts are raised when they should be, and not when all is well', options, async (t) => {
  const directory = makeDirectory(t);
  execFileSync('promtool', ['check', 'rules', RULES_FILE], { stdio: 'pipe' });
  // Without annotations, which promtool would have to be told in full.
  const bare = RULES.groups.map(({ name, rules }) => ({
    name,
    rules: rules.map((rule) => ({ ...rule, annotations: undefined })),
  }));
  writeFileSync(join(directory, 'rules.yaml'), stringify({ groups: bare }));
  const series = (list: readonly (readonly [string, string])[]) => list.map(([series, values]) => ({ series, values }));
  const raise = (alert: string, raised: boolean, list: readonly (readonly [string, string])[]) => {
    const inputs = series(list);
    const labels: Record<string, string> = {};
    for (const [, key, value] of list[0]![0].matchAll(/(\w+)="(\w+)"/g)) labels[key!] = value!;
    const rule = ALERTS.find((each) => each.alert === alert)!;
    const exp_labels = { ...rule.labels, ...(alert === 'HoldfastNoReadings' ? {} : labels) };
    const exp_alerts = raised ? [{ exp_labels }] : [];
    return {
      interval: '1m',
      input_series: inputs,
      alert_rule_test: [{ eval_time: '40m', alertname: alert, exp_alerts }],
    };
  };
  const run = async (tests: unknown[]): Promise<void> => {
    const path = join(directory, 'tests.yaml');
    writeFileSync(path, stringify({ rule_files: ['rules.yaml'], evaluation_interval: '1m', tests }));
    await promisify(execFile)('promtool', ['test', 'rules', path]);
  };
  t.strictSame(Object.keys(RAISED).sort(), ALERTS.map(({ alert }) => alert).sort(), 'each alert is tried');
  await run(Object.entries(RAISED).map(([alert, list]) => raise(alert, true, list)));
  // Those that were there when Prometheus first asked are told too.
  await run([raise('HoldfastDeadLetters', true, [['holdfast_dead_letters_total{reason="payload"}', '_x35 1x25']])]);
  await run(ALERTS.map(({ alert }) => raise(alert, false, QUIET)));
  for (const [alert, list] of Object.entries(RAISED))
    await t.rejects(run([raise(alert, false, list)]), `${alert} is found`);
});

void test('every query of boards and rules is answered', options, async (t) => {
  // The counters of UDP are those of its endpoint.
  const environment = { EDGE_UDP_LISTEN: `127.0.0.1:${await freePort()}` };
  const pipeline = await ShadowPipeline.start(t, { storage: true, live: true, environment });
  const client = await LiveClient.connect(pipeline.live!.url);
  t.teardown(() => client.close());
  await client.say({ subscribe: '*' });
  const device = new Device({ url: pipeline.edge.url, id: 'press-1' });
  t.teardown(() => device.close());
  device.connect();
  const directory = makeDirectory(t);
  const jobs = {
    edge: pipeline.edge.process,
    router: pipeline.router,
    shadow: pipeline.shadow,
    storage: pipeline.storage!,
    live: pipeline.live!.process,
  };
  const scrape_configs = Object.entries(jobs).map(([job_name, { adminPort }]) => ({
    job_name,
    static_configs: [{ targets: [`127.0.0.1:${adminPort}`] }],
  }));
  const config = join(directory, 'prometheus.yaml');
  writeFileSync(config, stringify({ global: { scrape_interval: '1s', scrape_timeout: '1s' }, scrape_configs }));
  const port = await freePort();
  const flags = [
    `--config.file=${config}`,
    `--storage.tsdb.path=${directory}/data`,
    `--web.listen-address=127.0.0.1:${port}`,
  ];
  const server = spawn('prometheus', flags, { stdio: 'ignore' });
  t.teardown(async () => {
    server.kill('SIGKILL');
    if (server.exitCode === null && server.signalCode === null) await once(server, 'exit');
  });
  /** How many values the answer has; those that are no numbers (of a histogram that counts nothing) do not count. */
  const ask = async (expr: string): Promise<number> => {
    const url = `http://127.0.0.1:${port}/api/v1/query?query=${encodeURIComponent(expr)}`;
    const answer = (await (await fetch(url)).json()) as {
      error?: string;
      data?: { result: { value: [number, string] }[] };
    };
    if (answer.data === undefined) throw new Error(`${expr}: ${answer.error ?? 'no answer'}`);
    return answer.data.result.filter(({ value }) => value[1] !== 'NaN').length;
  };
  const expressions = [
    ...TARGETS.filter(({ expr }) => expr !== undefined).map(({ name, expr }) => ({ name, expr: expr! })),
    ...ALERTS.map(({ alert, expr }) => ({ name: alert, expr: expr.replace(/ (==|>=|>) [\d.]+/g, '') })),
  ];
  let unanswered = expressions;
  const deadline = Date.now() + 200_000;
  while (unanswered.length > 0 && Date.now() < deadline) {
    device.send({ temperature: 20 });
    await device.flushed();
    const left: typeof expressions = [];
    for (const each of unanswered) if ((await ask(each.expr).catch(() => 0)) === 0) left.push(each);
    unanswered = left;
  }
  t.strictSame(unanswered, []);
  t.equal(await ask('rate(holdfast_nothing_total[1m])'), 0, 'a metric that is not there is found');

  await until(async () => (await query(pipeline.databaseUrl, 'select from telemetry')).length > 0);
  await query(
    pipeline.databaseUrl,
    `insert into devices values ('press-1', 'press', 'hall', 1, 2) on conflict do nothing`,
  );
  const now = Date.now();
  for (const { name, sql } of queriesOf('press-1', now - HOUR_MS, now + HOUR_MS)) {
    t.ok((await query(pipeline.databaseUrl, sql)).length > 0, name);
  }
});

void test('on TimescaleDB the queries of the database are answered as on PostgreSQL', needsTimescale, async (t) => {
  const postgres = await TestPostgres.start();
  t.teardown(() => postgres.stop());
  const timescale = await timescaleDatabase(t);
  const old = TIME - 10 * DAY_MS;
  for (const url of [postgres.url, timescale]) {
    const storage = await TestStorage.start(url, { timescale: 'auto' });
    t.teardown(() => storage.stop());
    await query(url, `insert into devices values ('press-1', 'press', 'hall', 1, 2), ('press-2', 'press', null, 3, 4)`);
    const first = [...readings('press-1', 1, old), ...readings('press-2', 1, old)];
    storage.source.push(batch(1, first));
    await storage.source.untilAcked(1);
    if (url === timescale) {
      // What is old is compressed and its minutes are materialized; what comes after is neither.
      await refreshMinutes(url);
      await query(url, `select compress_chunk(c) from show_chunks('telemetry') c`);
    }
    storage.source.push(batch(2, [...readings('press-1', 1_000, TIME), ...readings('press-2', 1_000, TIME)]));
    await storage.source.untilAcked(2);
  }
  const chunks = `select is_compressed from timescaledb_information.chunks where hypertable_name = 'telemetry' order by range_start`;
  t.strictSame(await query(timescale, chunks), [{ is_compressed: true }, { is_compressed: false }]);
  const reader = await makeReader(t, timescale);
  await t.rejects(query(reader, 'delete from telemetry'), { message: /permission denied/ });
  for (const from of [old, TIME]) {
    for (const { name, sql } of queriesOf('press-1', from, TIME + HOUR_MS)) {
      const rows = await query(reader, sql);
      t.ok(rows.length > 0, name);
      t.strictSame(rows, await query(postgres.url, sql), `${name}: the same rows`);
    }
  }
  const newest = queriesOf('press-1', old, TIME).filter(({ sql }) => sql.includes('telemetry_minute'));
  t.equal(newest.length, 2);
  for (const { name, sql } of newest) t.equal((await query(timescale, sql)).length, 3, `${name}: two minutes and one`);
});

/** Makes the role by which Grafana reads, as the deployments make it. @returns the database's URL for it */
async function makeReader(t: Test, databaseUrl: string): Promise<string> {
  const script = readFileSync(packagePath('k8s', 'database', '100_reader.sh'), 'utf8');
  const sql = /<<'SQL'\n([^]*)\nSQL/.exec(script)![1]!;
  const name = `reader_${randomUUID()}`;
  await query(databaseUrl, sql.replaceAll(':"reader"', `"${name}"`).replaceAll(":'password'", `'${name}'`));
  t.teardown(() => query(databaseUrl, `drop role "${name}"`));
  const url = new URL(databaseUrl);
  url.username = url.password = name;
  return url.href;
}

/** 90 records, one a second. */
function readings(device: string, firstSeq: number, fromMs: number): TestRecord[] {
  return Array.from({ length: 90 }, (_, index) => {
    // The two devices never speak at the same time, so that the order of the newest readings is one.
    const timeMs = fromMs + index * 1_000 + (device === 'press-1' ? 0 : 500);
    return { device, seq: firstSeq + index, timeMs, receivedMs: timeMs + 250, payload: `{"value":${index}}` };
  });
}
