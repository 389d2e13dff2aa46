/** PostgreSQL: INSERTs of 64 rows, each a transaction of its own, by as many connections as are open to users. */
import { pino } from 'pino';
import { EmbeddedPostgres } from '../../services/up/postgres.js';
import { Session } from '../../shared/database.js';
import type { BenchContext } from '../context.js';
import { freePort } from '../ports.js';
import type { Peer, RunningPeer } from './peer.js';
import { POSTGRES_TABLE } from './postgres-connection.js';
import { treeCpuSeconds } from './process-tree.js';

const CONNECTIONS = 32;

export const postgresInserts: Peer = {
  name: 'PostgreSQL, INSERT of 64',
  load: { protocol: 'postgres', connections: CONNECTIONS },
  ackMeans: 'committed: its log is fsynced',
  settings: `synchronous_commit on, ${CONNECTIONS} connections (a process each), one transaction for 64 rows`,
  start,
};

async function start(context: BenchContext): Promise<RunningPeer> {
  const directory = context.newDirectory('postgres');
  const port = await freePort();
  const database = new EmbeddedPostgres({ directory, port, log: pino({ level: 'silent' }) });
  await database.start();
  const { pid } = database;
  if (pid === undefined) throw new Error('PostgreSQL has no process');
  const columns = 'seq bigint generated always as identity primary key, device_id text, data jsonb';
  await query(database.url, `CREATE TABLE ${POSTGRES_TABLE} (${columns})`);
  return {
    port,
    cpuSeconds: () => treeCpuSeconds(pid),
    count: async () =>
      Number((await query(database.url, `SELECT count(*) AS count FROM ${POSTGRES_TABLE}`))?.['count']),
    stop: async () => {
      await database.stop();
      context.remove(directory);
    },
  };
}

async function query(url: string, text: string): Promise<Record<string, unknown> | undefined> {
  const session = await Session.open(url, 'holdfast bench');
  try {
    const { rows } = await session.client.query<Record<string, unknown>>(text);
    return rows[0];
  } finally {
    await session.close();
  }
}
