/** What the queue commands say: results on stdout, as text or JSON; progress on stderr, where that is a terminal. */
import { once } from 'node:events';
import type { Writable } from 'node:stream';
import type { WriteStream } from 'node:tty';
import { Progress } from './progress.js';

/** Prints a result for scripts or for people. */
export function print<T>(
  json: boolean | undefined,
  result: T,
  describe: (result: T) => string,
  out: Writable = process.stdout,
): void {
  out.write(json === true ? `${JSON.stringify(result, null, 2)}\n` : describe(result));
}

/** Makes the progress of one command once its extent is known. */
export function progressOn(out: WriteStream, what: string): (totalBytes: number) => Progress {
  return (totalBytes) => new Progress(out, out.isTTY, what, totalBytes);
}

/** Ends the process quietly when whoever reads its output has seen enough, as `| head` does. */
export function endWithReader(output: Writable): void {
  output.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code === 'EPIPE') process.exit();
    throw error;
  });
}

/** Aborts at Ctrl-C or SIGTERM: what goes on until then ends as it should. */
export function untilInterrupted(): AbortSignal {
  const interrupted = new AbortController();
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => interrupted.abort());
  return interrupted.signal;
}

/** Writes, and waits while the reader of the output is slow. */
export async function writeTo(output: Writable, bytes: Buffer | string): Promise<void> {
  // An error that came while nobody waited for the output.
  if (output.errored !== null) throw output.errored;
  if (bytes.length > 0 && !output.write(bytes)) await once(output, 'drain');
}
