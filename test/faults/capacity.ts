/**
 * What a pipeline can take for long, on the machine as it is and with its devices beside it: as many records a second as
 * come into the table while devices send as fast as they may, and are held back wherever the table falls behind.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Pipeline } from '../support/pipeline.js';
import type { Fleet } from './fleet.js';

/** Records that may wait on their way; more would be a burst that the queues take, and not what can be taken for long. */
const MOST_WAITING = 50_000;
const LOOK_MS = 50;
/** What is not looked at: services and database are cold. */
const COLD_SHARE = 1 / 4;

interface Reading {
  readonly atMs: number;
  readonly storedRecords: number;
}

/** Runs the fleet. @returns records/s over the last three quarters of the time */
export async function capacityOf(pipeline: Pipeline, fleet: Fleet, forMs: number): Promise<number> {
  const over = Date.now() + forMs;
  const coldUntil = Date.now() + forMs * COLD_SHARE;
  let first: Reading | undefined;
  let last: Reading | undefined;
  const watch = async (): Promise<void> => {
    while (Date.now() < over) {
      const waiting = await waitingRecords(pipeline);
      fleet.recordsPerSecond = waiting > MOST_WAITING ? 0 : undefined;
      last = { atMs: Date.now(), storedRecords: fleet.history.ackedRecords - waiting };
      if (last.atMs >= coldUntil) first ??= last;
      await sleep(LOOK_MS);
    }
  };
  await fleet.during(watch());
  if (first === undefined || last === undefined || last.atMs === first.atMs) {
    throw new Error(`${forMs} ms are too short to learn what the pipeline can take`);
  }
  return ((last.storedRecords - first.storedRecords) * 1_000) / (last.atMs - first.atMs);
}

async function waitingRecords({ services }: Pipeline): Promise<number> {
  const [edge, router] = await Promise.all([
    services.edge.metric('holdfast_queue_records'),
    services.router.metric('holdfast_queue_records'),
  ]);
  return edge + router;
}
