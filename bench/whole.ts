/**
 * The whole pipeline: PostgreSQL, router, storage, edge, each a process of its own, on free ports and one disk, the first three
 * behind the edge as with `holdfast up`.
 */
import { pino } from 'pino';
import { EmbeddedPostgres } from '../services/up/postgres.js';
import { NICE } from '../services/up/priority.js';
import type { BenchContext } from './context.js';
import { freePort } from './ports.js';
import { untilAnswers, type BenchProcess } from './processes.js';
import {
  newRouterAddresses,
  startEdge,
  startRouter,
  startStorage,
  type EdgeService,
  type RouterService,
  type Service,
} from './services.js';

export interface Whole {
  readonly edge: EdgeService;
  readonly router: RouterService;
  readonly storage: Service;
  /** The services, for their CPU; PostgreSQL is not among them. */
  readonly processes: readonly BenchProcess[];
  stop(): Promise<void>;
}

/** A PostgreSQL of the bench's own, as `holdfast up` runs it. */
export async function startDatabase(context: BenchContext): Promise<EmbeddedPostgres> {
  const database = new EmbeddedPostgres({
    directory: context.newDirectory('postgres'),
    port: await freePort(),
    log: pino({ level: 'silent' }),
  });
  await database.start();
  return database;
}

/** Resolves when all of them are ready. */
export async function startWhole(context: BenchContext): Promise<Whole> {
  const database = await startDatabase(context);
  try {
    const addresses = await newRouterAddresses();
    const router = await startRouter(context, context.newDirectory('router'), 'storage', addresses, NICE);
    const storage = await startStorage(context, database.url, addresses, NICE);
    const edge = await startEdge(context, context.newDirectory('edge'), addresses.intake);
    await untilAnswers(storage.process, storage.adminPort, '/readyz');
    await untilAnswers(edge.process, edge.adminPort, '/readyz');
    const processes = [edge.process, router.process, storage.process];
    const stop = async (): Promise<void> => {
      for (const process of processes) await process.stop();
      await database.stop();
    };
    return { edge, router, storage, processes, stop };
  } catch (error) {
    await database.stop();
    throw error;
  }
}
