/**
 * A main thread that is busy for some seconds, for a service that is started with `--import` of this file and gets SIGUSR2:
 * ZeroMQ's threads go on, receive queues fill up, and nobody takes anything out of them.
 */
import { isMainThread } from 'node:worker_threads';

const BUSY_MS = 5_000;

if (isMainThread) {
  const nobody = new Int32Array(new SharedArrayBuffer(4));
  process.on('SIGUSR2', () => {
    Atomics.wait(nobody, 0, 0, BUSY_MS);
  });
}
