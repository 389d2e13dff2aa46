/** A storage of a test's own, over a database and a memory source. */
import { randomUUID } from 'node:crypto';
import { Registry } from 'prom-client';
import { Positions } from '../../services/storage/positions.js';
import { migrate } from '../../services/storage/schema.js';
import { Storage } from '../../services/storage/storage.js';
import { ContextCache } from '../../shared/context.js';
import { Session } from '../../shared/database.js';
import { START } from '../../shared/position.js';
import { MemorySource, makeBatch, type TestRecord } from './deliveries.js';
import { silent } from './postgres.js';

const YEAR_MS = 365 * 86_400_000;

export interface TestStorageOptions {
  readonly queueId?: string;
  readonly timescale?: 'auto' | 'off';
  readonly limits?: { readonly rows: number; readonly bytes: number; readonly waitMs: number };
}

export class TestStorage {
  readonly source: MemorySource;
  readonly registry = new Registry();
  readonly positions: Positions;
  readonly context: ContextCache;
  readonly storage: Storage;
  /** Resolves with the error that has ended the storage. */
  readonly failed: Promise<Error>;

  private constructor(
    readonly url: string,
    options: TestStorageOptions,
  ) {
    const schema = { timescale: options.timescale ?? 'off', retentionMs: YEAR_MS, log: silent } as const;
    this.source = new MemorySource(options.queueId ?? randomUUID());
    this.positions = new Positions({ url, ...schema });
    this.context = new ContextCache({ url, log: silent });
    let fail: (error: Error) => void = () => undefined;
    this.failed = new Promise((resolve) => (fail = resolve));
    this.storage = new Storage({
      url,
      ...schema,
      source: this.source,
      positions: this.positions,
      context: this.context,
      limits: options.limits ?? { rows: 50_000, bytes: 2 ** 25, waitMs: 5 },
      registry: this.registry,
      onFailure: fail,
    });
  }

  /** Starts a storage that has resumed its queue. */
  static async start(url: string, options: TestStorageOptions = {}): Promise<TestStorage> {
    const test = new TestStorage(url, options);
    await test.positions.resume(test.source.queueId, START);
    await test.context.start();
    await test.storage.start();
    return test;
  }

  async stop(): Promise<void> {
    await this.storage.stop();
    this.source.close();
    await this.context.stop();
  }

  /** The value of a metric without labels, or the sum over its labels. */
  async metric(name: string): Promise<number> {
    const metric = await this.registry.getSingleMetric(name)!.get();
    return metric.values.reduce((sum, { value }) => sum + value, 0);
  }
}

/** Makes storage's tables, without TimescaleDB. */
export async function createSchema(url: string): Promise<void> {
  const session = await Session.open(url, 'test');
  await migrate(session, { timescale: 'off', retentionMs: YEAR_MS, log: silent });
  await session.close();
}

/** Runs one query on a connection of its own and returns the rows. */
export async function query<R extends object>(url: string, sql: string, values: readonly unknown[] = []): Promise<R[]> {
  const session = await Session.open(url, 'test');
  try {
    const { rows } = await session.client.query<R>(sql, [...values]);
    return rows;
  } finally {
    await session.close();
  }
}

export const TIME = Date.UTC(2026, 10, 20, 12);
export const EPOCH = 1_700_000_000_000;

/** `count` records of one device from `firstSeq` on. */
export function records(device: string, firstSeq: number, count: number): TestRecord[] {
  return Array.from({ length: count }, (_, index) => ({
    device,
    seq: firstSeq + index,
    timeMs: TIME + firstSeq + index,
    payload: `{"value":${firstSeq + index}}`,
  }));
}

/** A batch at an offset of EPOCH. */
export function batch(offset: number, list: readonly TestRecord[]): Buffer {
  return makeBatch({ epoch: EPOCH, offset }, list);
}

/** How many rows there are, and how many records they are of. */
export async function countRows(url: string): Promise<{ rows: number; distinct: number }> {
  const sql = 'select count(*)::int as rows, count(distinct (device_id, seq))::int as distinct from telemetry';
  return (await query<{ rows: number; distinct: number }>(url, sql))[0]!;
}
