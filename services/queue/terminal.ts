/** What the queue commands say: results on stdout, as text or JSON; progress on stderr, where that is a terminal. */
import type { WriteStream } from 'node:tty';
import { Progress } from './progress.js';

/** Prints a result for scripts or for people. */
export function print<T>(json: boolean | undefined, result: T, describe: (result: T) => string): void {
  process.stdout.write(json === true ? `${JSON.stringify(result, null, 2)}\n` : describe(result));
}

/** Makes the progress of one command once its extent is known. */
export function progressOn(out: WriteStream, what: string): (totalBytes: number) => Progress {
  return (totalBytes) => new Progress(out, out.isTTY, what, totalBytes);
}
