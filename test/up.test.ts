/** `holdfast up`: one command, and what it survives. */
import { execFile } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { getPriority, tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import t from 'tap';
import { BEHIND_ACKS, childrenOf } from '../services/up/priority.js';
import { Session } from '../shared/database.js';
import { MALLOC_ENVIRONMENT } from '../shared/malloc.js';
import { packagePath } from '../shared/paths.js';
import { freePorts, ServiceProcess, until } from './support/processes.js';
import { sessionNicenessOf } from './support/session-niceness.js';

const CHILDREN = ['postgres', 'storage', 'shadow', 'live', 'router', 'edge', 'demo'];

interface Up {
  readonly process: ServiceProcess;
  readonly directory: string;
  readonly databaseUrl: string;
  /** Where shadow's API is, host and port. */
  readonly shadow: string;
}

async function prepare(): Promise<Up> {
  const directory = await mkdtemp(join(tmpdir(), 'holdfast-up-'));
  const ports = await freePorts(14);
  const [edge, edgeAdmin, intake, publish, fetch, routerAdmin, storageAdmin, live, liveAdmin, postgres] = ports;
  const [shadow, shadowAdmin, downlink, udp] = ports.slice(10);
  const environment = {
    EDGE_LISTEN: `127.0.0.1:${edge!}`,
    EDGE_UDP_LISTEN: `127.0.0.1:${udp!}`,
    EDGE_MQTT_LISTEN: 'off',
    EDGE_ADMIN_LISTEN: `127.0.0.1:${edgeAdmin!}`,
    EDGE_ROUTER: `tcp://127.0.0.1:${intake!}`,
    EDGE_DOWNLINK: `tcp://127.0.0.1:${downlink!}`,
    ROUTER_INTAKE: `tcp://127.0.0.1:${intake!}`,
    ROUTER_PUBLISH: `tcp://127.0.0.1:${publish!}`,
    ROUTER_CONSUMERS_LISTEN: `tcp://127.0.0.1:${fetch!}`,
    ROUTER_ADMIN_LISTEN: `127.0.0.1:${routerAdmin!}`,
    STORAGE_ROUTER_FETCH: `tcp://127.0.0.1:${fetch!}`,
    STORAGE_ROUTER_PUBLISH: `tcp://127.0.0.1:${publish!}`,
    STORAGE_ADMIN_LISTEN: `127.0.0.1:${storageAdmin!}`,
    SHADOW_LISTEN: `127.0.0.1:${shadow!}`,
    SHADOW_ADMIN_LISTEN: `127.0.0.1:${shadowAdmin!}`,
    SHADOW_DOWNLINK: `tcp://127.0.0.1:${downlink!}`,
    SHADOW_ROUTER_FETCH: `tcp://127.0.0.1:${fetch!}`,
    SHADOW_ROUTER_PUBLISH: `tcp://127.0.0.1:${publish!}`,
    LIVE_LISTEN: `127.0.0.1:${live!}`,
    LIVE_ADMIN_LISTEN: `127.0.0.1:${liveAdmin!}`,
    LIVE_ROUTER_PUBLISH: `tcp://127.0.0.1:${publish!}`,
    UP_POSTGRES_LISTEN: `127.0.0.1:${postgres!}`,
    DEMO_INTERVAL: '100ms',
  };
  const process = new ServiceProcess(['up', '--data', directory], environment, storageAdmin!);
  const databaseUrl = `postgres://holdfast@127.0.0.1:${postgres!}/holdfast`;
  return { process, directory, databaseUrl, shadow: `127.0.0.1:${shadow!}` };
}

function pidOf({ directory }: Up, service: string): number | undefined {
  const file = join(directory, 'run', `${service}.pid`);
  return existsSync(file) ? Number(readFileSync(file, 'utf8')) : undefined;
}

/** Of all threads of a process. */
function nicenessOf(pid: number): number[] {
  return readdirSync(`/proc/${pid}/task`).map((thread) => {
    const stat = readFileSync(`/proc/${pid}/task/${thread}/stat`, 'latin1');
    // proc(5): nice is the 19th field; the second is a name in brackets.
    return Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[16]);
  });
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

async function countRows({ databaseUrl }: Up): Promise<number> {
  const session = await Session.open(databaseUrl, 'test');
  try {
    const { rows } = await session.client.query<{ count: string }>('select count(*) from telemetry');
    return Number(rows[0]!.count);
  } finally {
    await session.close();
  }
}

/** Waits until more rows are there than were; a database that is on its way up counts as not yet. */
async function grows(up: Up): Promise<void> {
  let before: number | undefined;
  await until(async () => {
    const count = await countRows(up).catch(() => undefined);
    before ??= count;
    return count !== undefined && before !== undefined && count > before;
  });
}

/** The lines about shadows and commands that the README has for pasting, with the address of this one. */
function pastedLines({ shadow }: Up): string[] {
  const [, section] = readFileSync(packagePath('README.md'), 'utf8').split('## Shadows and commands');
  const lines = section!.split('\n## ', 1)[0]!.split('\n');
  return lines.filter((line) => line.startsWith('curl ')).map((line) => line.replace('127.0.0.1:7320', shadow));
}

async function run(line: string): Promise<unknown> {
  const { stdout } = await promisify(execFile)('sh', ['-c', line]);
  return JSON.parse(stdout) as unknown;
}

/** Waits until a line's answer is as asked for; what is on its way up answers later. */
async function untilAnswer(line: string, condition: (answer: string) => boolean): Promise<void> {
  await until(async () => {
    const answer = await run(line).catch(() => undefined);
    return answer !== undefined && condition(JSON.stringify(answer));
  });
}

async function untilSaidReady({ process }: Up): Promise<void> {
  await until(() => {
    if (!process.running) throw new Error(`up ended:\n${process.output}`);
    return process.output.includes('holdfast is ready');
  });
}

await t.test('one command runs the pipeline, and it outlives kill -9 of every part and of itself', async (t) => {
  const up = await prepare();
  try {
    up.process.spawn();
    await untilSaidReady(up);
    t.match(
      up.process.output,
      /holdfast is ready .*devices ws:.*live ws:.*shadow http:\S+\/things\/\{thing\}\/shadow {2}database postgres:.*metrics http:/,
    );
    await grows(up);
    for (const service of CHILDREN) {
      const pid = pidOf(up, service)!;
      const niceness = service === 'edge' || service === 'demo' ? 0 : BEHIND_ACKS;
      // Added to this process's own.
      t.strictSame([...new Set(nicenessOf(pid))], [Math.min(19, getPriority() + niceness)], service);
      for (const [key, value] of Object.entries(service === 'postgres' ? {} : MALLOC_ENVIRONMENT)) {
        t.ok(
          readFileSync(`/proc/${pid}/environ`, 'utf8').split('\0').includes(`${key}=${value}`),
          `${service} has ${key}`,
        );
      }
      const session = sessionNicenessOf(pid);
      // Some containers let nobody change it; up says so, and goes on.
      if (session === undefined || up.process.output.includes('the priority of its session stays')) continue;
      t.equal(session, niceness, `the session of ${service}`);
      if (service === 'postgres') {
        await until(async () => {
          const children = await childrenOf(pid);
          return children.length > 0 && children.every((child) => sessionNicenessOf(child) === niceness);
        });
      }
    }

    const [desire, read, reboot, list] = pastedLines(up) as [string, string, string, string];
    const isTaken = (answer: string): boolean =>
      /"reported":\{[^}]*"throttle":40/.test(answer) && !/"delta"/.test(answer);
    t.match(await run(desire), { state: { desired: { throttle: 40 } } });
    await untilAnswer(read, isTaken);
    const conflict = desire.replace('{"state"', '{"version": 1, "state"');
    t.match(await run(conflict), { code: 409, message: 'Version conflict' });
    t.match(await run(reboot), { state: 'QUEUED' });
    await untilAnswer(list, (answer) => /"SUCCEEDED".*"downMs"/.test(answer));
    t.pass('the lines of the README do as it says');

    for (const service of CHILDREN) {
      const pid = pidOf(up, service)!;
      process.kill(pid, 'SIGKILL');
      await until(() => ![undefined, pid].includes(pidOf(up, service)));
      await grows(up);
      t.pass(`${service} was killed and rows go on arriving`);
    }
    await untilAnswer(read, isTaken);
    t.pass('what was desired is, whoever was killed meanwhile');

    const other = new ServiceProcess(['up', '--data', up.directory], up.process.environment, 1);
    other.spawn();
    await until(() => !other.running);
    t.match(other.output, /another holdfast up \(pid \d+\) is at work/);

    const children = CHILDREN.map((service) => pidOf(up, service)!);
    const rows = await countRows(up);
    await up.process.end('SIGKILL');
    await until(() => !children.some(isAlive));
    t.pass('no child outlives it');

    up.process.output = '';
    up.process.spawn();
    await untilSaidReady(up);
    await grows(up);
    t.ok((await countRows(up)) > rows, 'what was stored before is there');

    const last = CHILDREN.map((service) => pidOf(up, service)!);
    t.equal(await up.process.end('SIGTERM'), 0);
    t.notOk(last.some(isAlive), 'no process is left');
    t.same(readdirSync(join(up.directory, 'run')), [], 'no pid file is left');
  } finally {
    await up.process.end('SIGTERM');
    await rm(up.directory, { recursive: true, force: true });
  }
});

await t.test('a child whose configuration is wrong ends it with exit code 78 and says what is wrong', async (t) => {
  const up = await prepare();
  const environment = { ...up.process.environment, EDGE_QUOTA: 'plenty' };
  const wrong = new ServiceProcess(['up', '--data', up.directory], environment, 1);
  wrong.spawn();
  await until(() => !wrong.running);
  t.equal(await wrong.end(), 78);
  t.match(wrong.output, /EDGE_QUOTA="plenty" is not allowed; allowed: a size/);
  await rm(up.directory, { recursive: true, force: true });
});

await t.test('consumers that leave out one which up runs are refused at once', async (t) => {
  const up = await prepare();
  const environment = { ...up.process.environment, ROUTER_CONSUMERS: 'storage,mine' };
  const wrong = new ServiceProcess(['up', '--data', up.directory], environment, 1);
  wrong.spawn();
  await until(() => !wrong.running);
  t.equal(await wrong.end(), 78);
  t.match(wrong.output, /ROUTER_CONSUMERS=storage,mine leaves out shadow, which holdfast up runs: add it/);
  await rm(up.directory, { recursive: true, force: true });
});
