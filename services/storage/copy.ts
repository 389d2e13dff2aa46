/**
 * One COPY FROM STDIN: chunks go out one at a time, each when the kernel has taken the one before, so that memory is
 * bounded by one chunk and the server is kept busy by what the socket holds.
 *
 * After an error the session is of no use: pg-copy-streams leaves the protocol in the middle of the COPY (its issues #113
 * and #115: a later query may hang, CopyFail may never be sent). It is destroyed, by us, here.
 */
import { once } from 'node:events';
import { from } from 'pg-copy-streams';
import type { Session } from '../../shared/database.js';

/** How long the server may take nothing, or say nothing at the end, before it is taken for gone. */
const STALL_MS = 60_000;

/**
 * Copies the chunks; each may reuse the memory of the one before.
 * @returns the rows that the server counted
 * @throws the server's or the socket's error, or what `chunks` throws
 */
export async function copyInto(session: Session, sql: string, chunks: Iterable<Buffer>): Promise<number> {
  const stalled = setTimeout(() => session.destroy(), STALL_MS);
  const stream = session.client.query(from(sql));
  let failed = false;
  const failure = new Promise<never>((_, reject) => {
    // Not once(): a second error of the same stream would have no listener, and end the process.
    stream.on('error', (error) => {
      failed = true;
      reject(error);
    });
  });
  try {
    for (const chunk of chunks) {
      // A stream that has failed has let go of its connection: writing to it would throw.
      if (hasFailed()) await failure;
      const taken = new Promise<void>((resolve) => {
        stream.write(chunk, () => resolve());
      });
      await Promise.race([taken, failure]);
      stalled.refresh();
    }
    if (hasFailed()) await failure;
    stream.end();
    await Promise.race([once(stream, 'finish'), failure]);
    return stream.rowCount;
  } catch (error) {
    failure.catch(() => undefined); // The error is on its way; the stream's own may follow when the socket is destroyed.
    session.destroy();
    throw error;
  } finally {
    clearTimeout(stalled);
  }
  function hasFailed(): boolean {
    return failed;
  }
}
