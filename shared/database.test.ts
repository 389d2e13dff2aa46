import { once } from 'node:events';
import { createServer } from 'node:net';
import t, { test } from 'tap';
import { TestPostgres, freePort } from '../test/support/postgres.js';
import { Connection, Session, databaseAway, databaseFault, fullJitterMs, type DatabaseFault } from './database.js';

const postgres = await TestPostgres.start();
t.teardown(() => postgres.stop());

async function faultOf(sql: string): Promise<DatabaseFault> {
  const session = await Session.open(postgres.url, 'test');
  try {
    await session.client.query(sql);
    throw new Error('the statement was meant to fail');
  } catch (error) {
    return databaseFault(error);
  } finally {
    await session.close();
  }
}

void test('errors are sorted by what they ask for', async (t) => {
  const expected: [string, DatabaseFault][] = [
    ['select pg_terminate_backend(pg_backend_pid())', 'connection'],
    ['create temp table k (n int unique); insert into k values (1), (1)', 'duplicate'],
    [`select '{'::jsonb`, 'data'],
    [`select '"\\u0000"'::jsonb`, 'data'],
    [`select convert_from('\\xff', 'UTF8')`, 'data'],
    [`do $$ begin raise exception 'no'; end $$`, 'data'],
    [`select repeat('[', 100000)::jsonb`, 'data'],
    ['select * from nowhere', 'other'],
    ['set statement_timeout = 1; select pg_sleep(1)', 'other'],
  ];
  for (const [sql, fault] of expected) t.equal(await faultOf(sql), fault, sql);
});

void test('a server that is not there, not a server, or has no such database, is an error to try again', async (t) => {
  const nobody = `postgres://holdfast@127.0.0.1:${await freePort()}/holdfast`;
  const nowhere = await Session.open(nobody, 'test').catch((error: unknown) => error);
  t.match(nowhere, { code: 'database', retry: true, message: /ECONNREFUSED/ });
  t.equal(databaseFault(nowhere), 'connection');
  const missing = await Session.open(`${postgres.url}_not`, 'test').catch((error: unknown) => error);
  t.match(missing, { code: 'database', retry: true, message: /3D000/ });
  t.equal(databaseFault(missing), 'other', 'only an operator can make the database');
  const server = createServer((socket) => socket.end('hello'));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  const port = typeof address === 'object' ? address!.port : 0;
  await t.rejects(Session.open(`postgres://holdfast@127.0.0.1:${port}/x`, 'test'), { code: 'database', retry: true });
  server.close();
});

void test('work that takes too long is given up, and its session with it', async (t) => {
  const session = await Session.open(postgres.url, 'test');
  await t.rejects(session.within(50, session.client.query('select pg_sleep(30)')));
  t.ok(session.closed);
  t.equal(databaseFault(await session.client.query('select 1').catch((error: unknown) => error)), 'connection');
});

void test('callers that ask at once share one session, and get a new one after it broke', async (t) => {
  let prepared = 0;
  const connection = new Connection(postgres.url, 'test', () => {
    prepared++;
    return Promise.resolve();
  });
  t.notOk(connection.connected);
  const [a, b] = await Promise.all([connection.session(), connection.session()]);
  t.equal(a, b);
  t.equal(prepared, 1);
  t.ok(connection.connected);
  connection.destroy();
  t.notOk(connection.connected);
  t.not(await connection.session(), a);
  t.equal(prepared, 2);
  await connection.close();
  t.notOk(connection.connected);
});

void test('a session that cannot be prepared is not used', async (t) => {
  const connection = new Connection(postgres.url, 'test', () => Promise.reject(databaseAway(new Error('no'))));
  await t.rejects(connection.session(), { code: 'database' });
  t.notOk(connection.connected);
});

void test('a back-off grows up to its bound and is never longer', (t) => {
  for (let attempt = 0; attempt < 100; attempt++) {
    const delayMs = fullJitterMs(attempt, 100, 5_000);
    t.ok(delayMs >= 0 && delayMs <= Math.min(5_000, 100 * 2 ** attempt));
  }
  t.end();
});
