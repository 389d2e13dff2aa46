/** PostgreSQL that is away, slow, full or in the way, under a whole pipeline and its fleet. */
import { setTimeout as sleep } from 'node:timers/promises';
import { Session } from '../../shared/database.js';
import { messageOf } from '../../shared/errors.js';
import { drained } from '../support/crash-run.js';
import { CutProxy } from '../support/cut-proxy.js';
import { Pipeline, type PipelineOptions } from '../support/pipeline.js';
import { until } from '../support/processes.js';
import { query } from '../support/storage.js';
import { Fleet, type FleetOptions } from './fleet.js';
import { PositionWatch } from './history/positions.js';
import { Mount } from './mount.js';
import { outcomeOf, stopwatch, type Outcome } from './outcome.js';

const KEEP_ALL = { ROUTER_RETAIN: '1GiB' };
const MIB = 2 ** 20;

interface Stage {
  readonly pipeline: Pipeline;
  readonly fleet: Fleet;
  /** How long a fault lasts, ms. */
  readonly forMs: number;
}

type Fault = (stage: Stage) => Promise<void>;

async function untilInTrouble({ pipeline }: Stage): Promise<void> {
  await until(async () => ((await pipeline.services.storage.waitingFor())?.length ?? 0) > 0);
}

/** Runs statements as another user of the database would. @returns what ends its connection */
export async function busySession(url: string, ...statements: readonly string[]): Promise<Session> {
  const session = await Session.open(url, 'fault');
  for (const statement of statements) await session.client.query(statement);
  return session;
}

export async function killBackends(url: string): Promise<void> {
  await query(url, `select pg_terminate_backend(pid) from pg_stat_activity where application_name like 'holdfast%'`);
}

/** Sessions of somebody else until the server has no room for another. */
async function fillConnections(url: string, sessions: Session[]): Promise<void> {
  for (;;) {
    try {
      sessions.push(await busySession(url));
    } catch (error) {
      if (!/too many clients/.test(messageOf(error))) throw error;
      return;
    }
  }
}

/** Somebody has all of the server's connections, and storage none. */
async function takeConnections(url: string, sessions: Session[]): Promise<void> {
  await fillConnections(url, sessions);
  const [first] = sessions;
  const ofStorage = `from pg_stat_activity where application_name like 'holdfast%'`;
  // What storage leaves may be taken by itself again, before it is taken here.
  do {
    await first!.client.query(`select pg_terminate_backend(pid) ${ofStorage}`);
    await fillConnections(url, sessions);
  } while ((await first!.client.query(`select ${ofStorage}`)).rowCount! > 0);
}

/** Every fault, by what it is called in the table. */
export const DATABASE_FAULTS: Readonly<Record<string, Fault>> = {
  'PostgreSQL killed': async (stage) => {
    await stage.pipeline.postgres.kill();
    await untilInTrouble(stage);
    await sleep(stage.forMs);
    await stage.pipeline.postgres.restart();
  },
  'PostgreSQL stopped and started': async (stage) => {
    await stage.pipeline.postgres.halt();
    await untilInTrouble(stage);
    await sleep(stage.forMs);
    await stage.pipeline.postgres.restart();
  },
  'PostgreSQL silent (SIGSTOP of its backends)': async ({ pipeline, forMs }) => {
    const pids = await query<{ pid: number }>(
      pipeline.databaseUrl,
      `select pid from pg_stat_activity where application_name = 'holdfast storage'`,
    );
    for (const { pid } of pids) process.kill(pid, 'SIGSTOP');
    await sleep(forMs);
    for (const { pid } of pids) process.kill(pid, 'SIGCONT');
  },
  'backends terminated, again and again': async ({ pipeline, forMs }) => {
    for (let times = 0; times < 10; times++) {
      await killBackends(pipeline.databaseUrl);
      await sleep(forMs / 10);
    }
  },
  'the table locked': async ({ pipeline, forMs }) => {
    const session = await busySession(pipeline.databaseUrl, 'begin', 'lock table telemetry in access exclusive mode');
    await sleep(forMs);
    await session.client.query('rollback');
    await session.close();
  },
  'a statement_timeout of 20 ms': async ({ pipeline, forMs }) => {
    const url = pipeline.databaseUrl;
    await query(url, `alter database holdfast set statement_timeout = '20ms'`);
    await killBackends(url);
    await sleep(forMs);
    const session = await busySession(
      url,
      'set statement_timeout = 0',
      'alter database holdfast reset statement_timeout',
    );
    await session.close();
    await killBackends(url);
  },
  'max_connections reached': async (stage) => {
    const sessions: Session[] = [];
    try {
      await takeConnections(stage.pipeline.databaseUrl, sessions);
      await untilInTrouble(stage);
      await sleep(stage.forMs);
    } finally {
      for (const session of sessions) await session.close();
    }
  },
  'connections refused': async ({ pipeline, forMs }) => {
    const url = pipeline.databaseUrl;
    await query(url.replace(/holdfast$/, 'postgres'), 'alter database holdfast allow_connections false');
    await query(
      url.replace(/holdfast$/, 'postgres'),
      `select pg_terminate_backend(pid) from pg_stat_activity where datname = 'holdfast'`,
    );
    await sleep(forMs);
    await query(url.replace(/holdfast$/, 'postgres'), 'alter database holdfast allow_connections true');
  },
};

/** A whole pipeline under load through a fault of its database. */
export function meetDatabaseFault(name: string, forMs: number): Promise<Outcome> {
  return inPipeline(name, {}, forMs, DATABASE_FAULTS[name]!);
}

/** Connections cut at COMMITs: before the server gets them, or after it has done them. */
export function cutCommits(times: number): Promise<Outcome> {
  return cutAt('connections cut at COMMIT', 'commit\0', times);
}

/** Connections cut within a COPY: with the first of its data, or before the server's next word. */
export function cutCopies(times: number): Promise<Outcome> {
  return cutAt('connections cut within COPY', 'PGCOPY\n', times);
}

async function cutAt(name: string, text: string, times: number): Promise<Outcome> {
  let proxy: CutProxy | undefined;
  const throughProxy = async (url: string): Promise<string> => (proxy = await CutProxy.start(url, text)).url;
  try {
    const outcome = await inPipeline(name, { throughProxy }, 0, async () => {
      for (let time = 0; time < times; time++) {
        const before = proxy!.cuts;
        proxy!.arm(time % 2 === 0 ? 'before' : 'after');
        await until(() => proxy!.cuts > before);
      }
    });
    return { ...outcome, tries: times };
  } finally {
    await proxy?.stop();
  }
}

/** The database's disk is full: PostgreSQL answers with errors, or ends. */
export async function fullDatabaseDisk(forMs: number): Promise<Outcome> {
  const mount = Mount.make('tmpfs', 512 * MIB);
  try {
    return await inPipeline("the database's disk full", { postgresIn: mount.path }, forMs, async (stage) => {
      mount.fill(0);
      await untilInTrouble(stage);
      await sleep(stage.forMs);
      mount.empty();
      if (!(await isThere(stage.pipeline.postgres.url))) {
        await stage.pipeline.postgres.halt();
        await stage.pipeline.postgres.restart();
      }
    });
  } finally {
    mount.remove();
  }
}

async function isThere(url: string): Promise<boolean> {
  return query(url, 'select 1').then(
    () => true,
    () => false,
  );
}

/** A whole pipeline under load through `fault`; what was acked must be in the table once when it is over. */
export async function inPipeline(
  name: string,
  options: PipelineOptions,
  forMs: number,
  fault: Fault,
  fleetOptions: FleetOptions = {},
): Promise<Outcome> {
  const pipeline = await Pipeline.start({ ...options, environment: { ...KEEP_ALL, ...options.environment } });
  const fleet = new Fleet(pipeline.edgeUrl, 10, { prefix: 'base', turnRecords: 2, reportEvery: 10, ...fleetOptions });
  try {
    const { edgeQueue, routerQueue, databaseUrl } = pipeline;
    fleet.send(10);
    await fleet.flushed();
    await drained(pipeline);
    const watch = await PositionWatch.start(edgeQueue, routerQueue, databaseUrl);
    await fleet.during(fault({ pipeline, fleet, forMs }));
    const seconds = stopwatch();
    await fleet.flushed();
    await drained(pipeline);
    const recoverySeconds = [seconds()];
    await watch.stop();
    const routerRules = { holdsAll: true, isOnce: false };
    const findings = await fleet.history.check({ databaseUrl, routerQueue, routerRules, positions: watch.samples });
    return outcomeOf(name, [findings], recoverySeconds);
  } finally {
    await fleet.close();
    fleet.history.close();
    await pipeline.stop();
  }
}
