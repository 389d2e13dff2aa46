/**
 * The life of a service's process: its parts start in order and stop in the reverse order, within a deadline.
 *
 * SIGTERM and SIGINT stop it; so does the end of the parent that holds its IPC channel (`holdfast up` killed with -9
 * leaves nobody behind). Whatever nobody caught is a bug or a broken disk: the process says so and exits with 1, because
 * the queues are durable and a fresh start is the one state that is known to be good.
 */
import { HoldfastError, messageOf } from './errors.js';
import type { Logger } from './log.js';

/** Something that runs between start and stop. */
export interface Part {
  readonly name: string;
  start?(): Promise<void>;
  stop?(): Promise<void>;
}

export const STOP_DEADLINE_MS = 10_000;

/** The exit code for a configuration that is wrong (EX_CONFIG of sysexits.h): starting again does not help. */
export const CONFIG_EXIT_CODE = 78;

/**
 * Runs the parts until the process is told to stop; then stops them and exits with process.exitCode or 0, or with 1 where
 * a part failed or the deadline passed. Resolves once every part has started.
 */
export async function runService(
  log: Logger,
  parts: readonly Part[],
  stopDeadlineMs: number = STOP_DEADLINE_MS,
): Promise<void> {
  const started: Part[] = [];
  let stopping = false;

  const stop = (reason: string): void => {
    if (stopping) return;
    stopping = true;
    log.info({ reason }, 'stopping');
    stopParts(started, stopDeadlineMs).then(
      () => {
        log.info('stopped');
        process.exit();
      },
      (error: unknown) => exitWith(log, error, 'could not stop cleanly'),
    );
  };
  process.on('SIGTERM', () => stop('SIGTERM'));
  process.on('SIGINT', () => stop('SIGINT'));
  process.on('disconnect', () => stop('the parent process ended'));
  // It may have ended while this process was still loading, before anybody listened.
  if (process.send !== undefined && !process.connected) stop('the parent process ended');
  process.on('uncaughtException', (error) => exitWith(log, error, 'uncaught error'));
  process.on('unhandledRejection', (error) => exitWith(log, error, 'unhandled rejection'));

  for (const part of parts) {
    if (isStopping()) return;
    try {
      await part.start?.();
    } catch (error) {
      exitWith(log, error, `could not start ${part.name}`);
    }
    started.push(part);
  }
  function isStopping(): boolean {
    return stopping;
  }
}

/** Ends the process at once: for faults after which going on could break the promise. */
export function exitWith(log: Logger, error: unknown, message: string): never {
  const isConfig = error instanceof HoldfastError && error.code === 'bad_config';
  if (isConfig) log.fatal(error.message);
  else log.fatal({ err: error }, `${message}: ${messageOf(error)}`);
  process.exit(isConfig ? CONFIG_EXIT_CODE : 1);
}

/**
 * Stops the parts in reverse order.
 * @throws HoldfastError stop_timeout naming the part that was still under way; or what a part threw
 */
export async function stopParts(parts: readonly Part[], deadlineMs: number): Promise<void> {
  let current = '';
  const work = async (): Promise<void> => {
    for (const part of [...parts].reverse()) {
      current = part.name;
      await part.stop?.();
    }
  };
  let timer: NodeJS.Timeout | undefined;
  const deadline = new Promise<never>((_, reject) => {
    timer = setTimeout(() => {
      reject(new HoldfastError('stop_timeout', `${current} did not stop within ${deadlineMs} ms`, false));
    }, deadlineMs);
  });
  try {
    await Promise.race([work(), deadline]);
  } finally {
    clearTimeout(timer);
  }
}
