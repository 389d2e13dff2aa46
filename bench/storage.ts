/**
 * Storage draining a backlog of a million records, beside a bare COPY of the same rows into the same table.
 *
 * The backlog is made once, by devices, an edge and a router without storage; each round starts a router on a copy of it.
 * The rows for the bare COPY are those that storage made of it, read back in COPY's own format, in the same order, held
 * in memory and cut into transactions of the size that storage's had. Both sides start with an empty table after a
 * checkpoint, and alternate. A first drain, which nobody measures, makes the rows and warms the database.
 *
 * Storage's time runs from its first commit to its last, and so without the rows of the first: what it took to start, to
 * attach and to fetch the first rows is told beside it.
 */
import { cpSync } from 'node:fs';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { Client } from 'pg';
import { from as copyFrom, to as copyTo } from 'pg-copy-streams';
import type { BenchContext } from './context.js';
import { cutCopy, type CopyPieces } from './copy-rows.js';
import { LOAD_SHAPE } from './load-options.js';
import { runLoad } from './load-run.js';
import type { BenchProcess } from './processes.js';
import { untilAnswers } from './processes.js';
import { atLeast, RowCollector, type PartResult } from './results.js';
import {
  newRouterAddresses,
  queuedRecords,
  readMetric,
  startEdge,
  startRouter,
  startStorage,
  type Service,
} from './services.js';
import { median } from './statistics.js';
import { startDatabase } from './whole.js';

const RECORDS = 1_000_000;
const CONSUMER = 'storage';
const STORAGE = 'storage';
const COPY = 'bare COPY';
const DEADLINE_MS = 180_000;
const POLL_MS = 10;
const SLICE_BYTES = 256 * 1024;

interface Drain {
  readonly rows: number;
  /** From the first commit to the last, and the rows of all but the first. */
  readonly seconds: number;
  readonly rowsPerSecond: number;
  /** From a ready service to its last commit. */
  readonly readySeconds: number;
  readonly rowsPerTransaction: number;
  readonly storageCpuSeconds: number;
  readonly routerCpuSeconds: number;
}

/** The part `storage`. */
export async function benchStorage(context: BenchContext): Promise<PartResult> {
  const backlog = await makeBacklog(context);
  const database = await startDatabase(context);
  const client = new Client({ connectionString: database.url });
  try {
    await client.connect();
    return await alternate(context, client, database.url, backlog);
  } finally {
    await client.end();
    await database.stop();
  }
}

async function alternate(context: BenchContext, client: Client, url: string, backlog: string): Promise<PartResult> {
  const rows = new RowCollector();
  const first = await drain(context, client, url, backlog);
  const pieces = await readRows(client, Math.round(first.rowsPerTransaction));
  for (let round = 1; round <= context.options.rounds; round++) {
    await startEmpty(client);
    collectDrain(rows, await drain(context, client, url, backlog));
    await startEmpty(client);
    rows.add(COPY, 'stored', 'rows/s', pieces.rows / (await copyRows(client, pieces)));
    const [storage, copy] = [rows.values(STORAGE, 'stored').at(-1)!, rows.values(COPY, 'stored').at(-1)!];
    context.say(`round ${round}: storage ${Math.round(storage)} rows/s, bare COPY ${Math.round(copy)} rows/s`);
  }
  return {
    part: 'storage',
    method:
      'A router with a backlog and storage, beside COPY telemetry FROM STDIN BINARY of the same rows in as many transactions, into the same table.',
    settings: {
      rounds: context.options.rounds,
      records: RECORDS,
      'payload bytes': LOAD_SHAPE.payloadBytes,
      'transactions of the bare COPY': pieces.pieces.length,
      'rows in each': Math.ceil(RECORDS / pieces.pieces.length),
      storage: 'its defaults',
      database: 'as holdfast up runs it',
    },
    rows: rows.rows,
    verdicts: [atLeast('storage / bare COPY', median(rows.ratios('stored', STORAGE, COPY)), 0.8)],
    notes: [],
  };
}

/** Fills a router's queue through an edge. @returns the queue's directory; nobody runs on it any more */
async function makeBacklog(context: BenchContext): Promise<string> {
  const addresses = await newRouterAddresses();
  const [backlog, edgeQueue] = [context.newDirectory('backlog'), context.newDirectory('edge')];
  const started: BenchProcess[] = [];
  try {
    const router = await startRouter(context, backlog, CONSUMER, addresses);
    started.push(router.process);
    const edge = await startEdge(context, edgeQueue, addresses.intake);
    started.push(edge.process);
    const { sent } = await runLoad({ protocol: 'binary', port: edge.port, records: RECORDS }, []);
    await until('the backlog is at the router', async () => (await queuedRecords(router)) >= sent);
  } finally {
    for (const process of started.reverse()) await process.stop();
    context.remove(edgeQueue);
  }
  return backlog;
}

async function drain(context: BenchContext, client: Client, url: string, backlog: string): Promise<Drain> {
  const queue = context.newDirectory('router');
  cpSync(backlog, queue, { recursive: true });
  const started: BenchProcess[] = [];
  try {
    const router = await startRouter(context, queue, CONSUMER, await newRouterAddresses());
    started.push(router.process);
    const storage = await startStorage(context, url, router.addresses);
    started.push(storage.process);
    await untilAnswers(storage.process, storage.adminPort, '/readyz');
    const timed = await timeRows(storage);
    const { rows } = await client.query<{ count: string }>('select count(*) as count from telemetry');
    if (rows[0]?.count !== String(RECORDS)) throw new Error(`telemetry has ${String(rows[0]?.count)} rows`);
    const merges = await readMetric(storage, 'holdfast_merge_rows_count');
    return {
      ...timed,
      rows: RECORDS,
      rowsPerTransaction: RECORDS / merges,
      storageCpuSeconds: storage.process.cpuSeconds(),
      routerCpuSeconds: router.process.cpuSeconds(),
    };
  } finally {
    for (const process of started.reverse()) await process.stop();
    context.remove(queue);
  }
}

/** Watches the rows that storage has committed, until they are all. */
async function timeRows(storage: Service): Promise<Pick<Drain, 'seconds' | 'rowsPerSecond' | 'readySeconds'>> {
  const readyMs = performance.now();
  let first: { rows: number; ms: number } | undefined;
  let lastMs = readyMs;
  await until('storage has drained the backlog', async () => {
    const stored = await readMetric(storage, 'holdfast_records_out_total');
    lastMs = performance.now();
    if (stored > 0) first ??= { rows: stored, ms: lastMs };
    return stored >= RECORDS;
  });
  if (first === undefined) throw new Error('storage has stored nothing');
  const seconds = (lastMs - first.ms) / 1000;
  return { seconds, rowsPerSecond: (RECORDS - first.rows) / seconds, readySeconds: (lastMs - readyMs) / 1000 };
}

function collectDrain(rows: RowCollector, result: Drain): void {
  rows.add(STORAGE, 'stored', 'rows/s', result.rowsPerSecond);
  rows.add(STORAGE, 'ready to last commit', 's', result.readySeconds);
  rows.add(STORAGE, 'rows a transaction', 'rows', result.rowsPerTransaction);
  rows.add(STORAGE, 'CPU of storage a row', 'µs', (result.storageCpuSeconds * 1e6) / result.rows);
  rows.add(STORAGE, 'CPU of the router a row', 'µs', (result.routerCpuSeconds * 1e6) / result.rows);
}

/** Both sides begin with the same: no rows, no positions, nothing left to write back. */
async function startEmpty(client: Client): Promise<void> {
  await client.query('truncate telemetry, dead_letters, consumer_positions');
  await client.query('checkpoint');
}

async function readRows(client: Client, rowsPerPiece: number): Promise<CopyPieces> {
  const chunks: Buffer[] = [];
  const stream = client.query(copyTo('copy (select * from telemetry) to stdout (format binary)'));
  for await (const chunk of stream) chunks.push(chunk as Buffer);
  const pieces = cutCopy(Buffer.concat(chunks), rowsPerPiece);
  if (pieces.rows !== RECORDS) throw new Error(`${pieces.rows} rows were read back, not ${RECORDS}`);
  return pieces;
}

/** Stores the rows, a transaction a piece. @returns how long it took, in seconds */
async function copyRows(client: Client, { pieces }: CopyPieces): Promise<number> {
  const begunMs = performance.now();
  for (const piece of pieces) {
    await client.query('begin');
    await pipeline(Readable.from(slices(piece)), client.query(copyFrom('copy telemetry from stdin (format binary)')));
    await client.query('commit');
  }
  return (performance.now() - begunMs) / 1000;
}

function* slices(piece: Buffer): Generator<Buffer> {
  for (let at = 0; at < piece.length; at += SLICE_BYTES) yield piece.subarray(at, at + SLICE_BYTES);
}

/** Asks every 10 ms until it is so. @throws Error after 3 minutes */
async function until(what: string, isSo: () => Promise<boolean>): Promise<void> {
  const deadlineMs = performance.now() + DEADLINE_MS;
  while (!(await isSo())) {
    if (performance.now() > deadlineMs) throw new Error(`waited ${DEADLINE_MS / 1000} s in vain: ${what}`);
    await sleep(POLL_MS);
  }
}
