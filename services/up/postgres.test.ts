import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { chmod, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { test, type Test } from 'tap';
import { Session } from '../../shared/database.js';
import { HoldfastError } from '../../shared/errors.js';
import { packagePath } from '../../shared/paths.js';
import { freePort, silent } from '../../test/support/postgres.js';
import { processesOf } from './postgres-leftovers.js';
import { EmbeddedPostgres } from './postgres.js';

const noSetpriv = existsSync('/usr/bin/setpriv') ? false : 'there is no setpriv (util-linux) here';

/** A directory that only its owner can enter, as mktemp -d makes it. */
async function privateDirectory(t: Test): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), 'holdfast-up-'));
  await chmod(directory, 0o700);
  t.teardown(() => rm(directory, { recursive: true, force: true }));
  return directory;
}

async function count(url: string): Promise<number> {
  const session = await Session.open(url, 'test');
  const { rows } = await session.client.query<{ n: number }>('select count(*)::int as n from kept');
  await session.close();
  return rows[0]!.n;
}

async function keep(url: string, sql: string): Promise<void> {
  const session = await Session.open(url, 'test');
  await session.client.query(sql);
  await session.close();
}

void test('a directory without a database gets one, below a 0700 directory too', async (t) => {
  const directory = join(await privateDirectory(t), 'data', 'postgres');
  const server = new EmbeddedPostgres({ directory, port: await freePort(), log: silent });
  await server.start();
  const session = await Session.open(server.url, 'test');
  const { rows } = await session.client.query<Record<string, string>>(
    `select current_user as who, current_database() as what, pg_encoding_to_char(encoding) as encoding,
     current_setting('fsync') as fsync, current_setting('synchronous_commit') as commit from pg_database
     where datname = current_database()`,
  );
  t.strictSame(rows[0], { who: 'holdfast', what: 'holdfast', encoding: 'UTF8', fsync: 'on', commit: 'on' });
  await session.close();
  await server.stop();
  t.strictSame(await server.exited, { code: 0, signal: null });
  t.strictSame(await processesOf(directory), []);
});

void test('rows survive kill -9 of the postmaster', async (t) => {
  const directory = join(await privateDirectory(t), 'postgres');
  const port = await freePort();
  const first = new EmbeddedPostgres({ directory, port, log: silent });
  await first.start();
  await keep(first.url, 'create table kept (n int); insert into kept select generate_series(1, 1000)');
  process.kill(first.pid!, 'SIGKILL');
  t.strictSame(await first.exited, { code: null, signal: 'SIGKILL' });
  const second = new EmbeddedPostgres({ directory, port, log: silent });
  await second.start();
  t.equal(await count(second.url), 1000);
  await second.stop();
});

void test('a PostgreSQL that still runs in the directory is stopped, and its rows are kept', async (t) => {
  const directory = join(await privateDirectory(t), 'postgres');
  const port = await freePort();
  const first = new EmbeddedPostgres({ directory, port, log: silent });
  await first.start();
  await keep(first.url, 'create table kept (n int); insert into kept values (1)');
  const second = new EmbeddedPostgres({ directory, port, log: silent });
  await second.start();
  t.strictSame(await first.exited, { code: 0, signal: null });
  t.equal(await count(second.url), 1);
  await second.stop();
});

void test('PostgreSQL ends with a parent that was killed with -9', { skip: noSetpriv }, async (t) => {
  const directory = join(await privateDirectory(t), 'postgres');
  const program = `
    import { pino } from 'pino';
    import { EmbeddedPostgres } from ${JSON.stringify(packagePath('dist/services/up/postgres.js'))};
    const [directory, port] = process.argv.slice(1);
    const server = new EmbeddedPostgres({ directory, port: Number(port), log: pino({ level: 'silent' }) });
    await server.start();
    process.stdout.write(server.pid + '\\n');`;
  const port = await freePort();
  const parent = spawn(process.execPath, ['--input-type=module', '-e', program, directory, `${port}`], {
    cwd: packagePath(),
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const [line] = (await once(createInterface({ input: parent.stdout }), 'line')) as [string];
  t.ok((await processesOf(directory)).includes(Number(line)));
  parent.kill('SIGKILL');
  await once(parent, 'close');
  const deadline = performance.now() + 10_000;
  while ((await processesOf(directory)).length > 0 && performance.now() < deadline) await sleep(20);
  t.strictSame(await processesOf(directory), []);
});

void test('a postmaster.pid that names another program is removed', async (t) => {
  const directory = join(await privateDirectory(t), 'postgres');
  const port = await freePort();
  const first = new EmbeddedPostgres({ directory, port, log: silent });
  await first.start();
  const lock = join(directory, 'postmaster.pid');
  const text = await readFile(lock, 'utf8');
  await keep(first.url, 'create table kept (n int)');
  process.kill(first.pid!, 'SIGKILL');
  await first.exited;
  for (const stale of [text.replace(/^\d+/, `${process.pid}`), '', text.replace(/^\d+/, '4194304')]) {
    await writeFile(lock, stale);
    const server = new EmbeddedPostgres({ directory, port, log: silent });
    await server.start();
    t.equal(await count(server.url), 0);
    await server.stop();
  }
});

void test('an initdb that was cut off is begun anew', async (t) => {
  const directory = join(await privateDirectory(t), 'postgres');
  await mkdir(join(`${directory}.unfinished`, 'base'), { recursive: true });
  await writeFile(join(`${directory}.unfinished`, 'PG_VERSION'), '18\n');
  const server = new EmbeddedPostgres({ directory, port: await freePort(), log: silent });
  await server.start();
  await keep(server.url, 'select 1');
  await server.stop();
});

void test('a port that is taken, and a directory that holds something else, are clear errors', async (t) => {
  const directory = join(await privateDirectory(t), 'postgres');
  const other = createServer((socket) => socket.destroy());
  other.listen(0, '127.0.0.1');
  await once(other, 'listening');
  const address = other.address();
  const port = typeof address === 'object' ? address!.port : 0;
  const server = new EmbeddedPostgres({ directory, port, log: silent });
  await t.rejects(server.start(), { code: 'start_failed', message: /Address already in use/ });
  other.close();
  await rm(join(directory, 'PG_VERSION'));
  const again = new EmbeddedPostgres({ directory, port, log: silent });
  const error: unknown = await again.start().then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  t.ok(error instanceof HoldfastError && /PG_VERSION is missing/.test(error.message), 'says what is missing');
});
