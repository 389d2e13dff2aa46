/**
 * A child's one piece of measured work, as its parent sees it: the child tells `ready`, is told to begin, tells `done` with
 * what came out, and ends when it is told so; in between the parent may look at other processes.
 */
import { tell } from './messages.js';

export interface WorkTime {
  readonly seconds: number;
  /** User and system, of all threads of this process. */
  readonly cpuSeconds: number;
}

/** Times work from the moment at which the parent says so. */
export async function measureWork(work: () => Promise<void> | void): Promise<WorkTime> {
  tell('ready');
  await told();
  const cpu = process.cpuUsage();
  const startedMs = performance.now();
  await work();
  const seconds = (performance.now() - startedMs) / 1000;
  const { user, system } = process.cpuUsage(cpu);
  return { seconds, cpuSeconds: (user + system) / 1e6 };
}

/** Tells what came out, and ends the process when the parent has heard it. */
export async function finishWork(time: WorkTime, values: Readonly<Record<string, number>> = {}): Promise<never> {
  tell('done', { ...time, ...values });
  await told();
  process.exit(0);
}

/** Waits for the next message of the parent. */
export function told(): Promise<void> {
  return new Promise((resolve) => process.once('message', () => resolve()));
}
