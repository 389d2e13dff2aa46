/** Tables of what devices may get wrong, run against a real edge; the tables stand beside the decoders. */
import type { Test } from 'tap';
import type { Closed } from './device-socket.js';
import type { TestEdge } from './edge.js';

/** What is wrong in the middle of good records: the edge says so, stores the rest and stays up. */
export interface FrameCase {
  readonly name: string;
  /** Sent in this order, each as one frame. */
  readonly frames: readonly unknown[];
  /** Codes of the errors, with the seq where it is known. */
  readonly errors: readonly (readonly [code: string, seq?: number])[];
  /** The seqs that are stored, in order; the last is acked. */
  readonly stored: readonly number[];
  /** What an error's message must say. */
  readonly says?: RegExp;
  /** How the edge ends the session; without it the session stays. */
  readonly closed?: Closed;
}

export const PAYLOAD_LIMIT = 64 * 1024;
export const FRAME_LIMIT = 256 * 1024;
export const MAX_TIME_MS = 253_402_300_799_999;

/** JSON text of `bytes` bytes. */
export function textOf(bytes: number): string {
  return JSON.stringify('x'.repeat(bytes - 2));
}

let devices = 0;

/** Runs a table, each case in a session of its own. */
export async function runFrameCases(
  t: Test,
  edge: TestEdge,
  protocol: string,
  cases: readonly FrameCase[],
): Promise<void> {
  for (const { name, frames, errors, stored, says, closed } of cases) {
    await t.test(name, async (t) => {
      const deviceId = `frames-${++devices}`;
      const device = await edge.connect(deviceId, { protocols: [protocol] });
      for (const each of frames) device.send(each);
      if (closed === undefined) await device.until(() => device.errors.length >= errors.length);
      if (closed === undefined) await device.untilAcked(stored.at(-1) ?? 0);
      const end = closed === undefined ? undefined : await device.closed();
      t.same(end, closed);
      t.same(
        device.errors.map(({ code, seq }) => (seq === undefined ? [code] : [code, seq])),
        errors,
      );
      t.equal(device.acked, stored.at(-1) ?? 0);
      for (const { message } of device.errors) t.match(message, says ?? /./);
      t.same(await edge.storedSeqs(deviceId), stored);
      t.notOk(device.isClosed && closed === undefined, 'the session stays');
      await device.close();
    });
  }
  t.ok(edge.process.running);
}
