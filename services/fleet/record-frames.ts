/**
 * Runs of records as WebSocket frames. A frame holds as many records as fit into 64 KiB, which every edge takes. The mask
 * key is 0: RFC 6455 wants a mask from clients and this is one, it costs nothing here and the edge unmasks as ever. (A real
 * device's key must be random, against caches between; simulated ones measure.)
 */
import type { RecordRun } from './connection.js';
import { partOf, RecordMessages, type RecordFormat } from './record-messages.js';
import { MAX_HEADER_BYTES, Opcode, writeFrameHeader } from './websocket-frames.js';

/** A frame of several records is not longer than this; a single record may be. */
export const FRAME_BYTES = 64 * 1024;

/** Takes the bytes of a frame. @returns false where they are still to be read after it returned */
export type WriteFrame = (bytes: Buffer) => boolean;

export class RecordFrames {
  readonly #messages: RecordMessages;
  readonly #opcode: number;

  constructor(format: RecordFormat, payload: Buffer) {
    const layout = { headBytes: MAX_HEADER_BYTES, maxRecordBytes: FRAME_BYTES };
    this.#messages = new RecordMessages(format, payload, layout);
    this.#opcode = format === 'binary' ? Opcode.binary : Opcode.text;
  }

  /** Gives the frames of a run to `write`, in order. */
  write(run: RecordRun, write: WriteFrame): void {
    const messages = this.#messages;
    for (let done = 0; done < run.count;) {
      const now = Math.min(messages.recordsPerMessage, run.count - done);
      const end = messages.write(partOf(run, done, now));
      const start = writeFrameHeader(messages.buffer, MAX_HEADER_BYTES, this.#opcode, end - MAX_HEADER_BYTES);
      done += now;
      if (!write(messages.buffer.subarray(start, end))) messages.leaveBuffer();
    }
  }
}
