/**
 * Ticks once a millisecond, as exactly as the kernel allows: Node's own timers round to milliseconds of a clock that
 * is read once a turn, and would be late by about half of what is measured. A worker thread sleeps on a futex until the
 * next tick and then posts a message, which costs some tens of microseconds; nothing spins.
 */
import { isMainThread, parentPort, Worker } from 'node:worker_threads';

export const TICK_MS = 1;

/**
 * Calls `onTick` about every TICK_MS, from the event loop; a tick that comes late is followed by the next one in time.
 * @returns what stops it
 */
export function startTicker(onTick: () => void): () => Promise<number> {
  const worker = new Worker(new URL(import.meta.url));
  worker.on('message', onTick);
  return () => worker.terminate();
}

/** Runs until the worker is terminated. */
function tick(): void {
  const never = new Int32Array(new SharedArrayBuffer(4));
  let next = performance.now();
  for (;;) {
    next = Math.max(next + TICK_MS, performance.now());
    Atomics.wait(never, 0, 0, next - performance.now());
    parentPort?.postMessage(null);
  }
}

if (!isMainThread) tick();
