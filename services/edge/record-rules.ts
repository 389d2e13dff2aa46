/** What every record must satisfy, whatever protocol brought it: its seq, its time, and its payload's size. */
import type { DeviceSession, RecordErrorCode } from './session.js';

/** Limits that a record is held against. */
export interface RecordLimits {
  readonly payloadBytes: number;
  readonly depth: number;
}

/**
 * A frame with more bad records than this is malformed as a whole. It bounds what one frame can cost: 256 KiB of
 * `[1,1,1,…` would ask for 131,072 errors, and keep every other device waiting meanwhile.
 */
export const MAX_FRAME_ERRORS = 1_000;

/** The end of the year 9999: what fits every calendar on the way to the database. */
export const MAX_TIME_MS = 253_402_300_799_999;

/** What a frame was, beside the records that were taken of it. */
export interface FrameOutcome {
  /** What is wrong with the frame as a whole, so that the session must end. */
  readonly problem: string | undefined;
  /** True where it asks for the device's shadow, once or often. */
  readonly asks: boolean;
}

export class RecordError extends Error {
  constructor(
    readonly code: RecordErrorCode,
    message: string,
    readonly seq?: number,
  ) {
    // Without a stack, which would be most of its cost: it is a device's fault, and nobody reads where it was found.
    const { stackTraceLimit } = Error;
    Error.stackTraceLimit = 0;
    super(message);
    Error.stackTraceLimit = stackTraceLimit;
  }
}

/**
 * The seq of the next record: the one the device gave, which must rise, or, for a device that gives none, the count of
 * its records on this connection. A device that mixes the two could not know what an ack means.
 * @throws RecordError bad_seq
 */
export function admitSeq(session: DeviceSession, given: unknown): number {
  if (given === undefined) {
    if (session.counted === undefined)
      throw new RecordError('bad_seq', '"seq" is missing; this connection gave it before');
    session.isCounting = true;
    return ++session.counted;
  }
  if (session.isCounting) {
    const message = '"seq" is given; this connection has let the edge count before';
    throw new RecordError('bad_seq', message, session.countUnread());
  }
  if (typeof given !== 'number' || !Number.isSafeInteger(given) || given < 1) {
    throw new RecordError('bad_seq', `"seq" is ${show(given)}; it must be a whole number of at least 1`);
  }
  if (given <= session.lastSeq) {
    throw new RecordError(
      'bad_seq',
      `"seq" is ${given}; it must be greater than ${session.lastSeq}, the one before`,
      given,
    );
  }
  session.counted = undefined;
  return given;
}

/**
 * The device's time, or the edge's where it gave none.
 * @throws RecordError bad_time
 */
export function admitTime(given: unknown, receivedMs: number, seq: number): number {
  if (given === undefined) return receivedMs;
  if (typeof given !== 'number' || !(given >= 0 && given <= MAX_TIME_MS)) {
    const allowed = `milliseconds since 1970, from 0 to ${MAX_TIME_MS}`;
    throw new RecordError('bad_time', `"time" is ${show(given)}; it must be ${allowed}`, seq);
  }
  return given;
}

/** @throws RecordError too_large */
export function admitSize(bytes: number, limits: RecordLimits, seq: number): void {
  if (bytes > limits.payloadBytes) {
    throw new RecordError('too_large', `the payload has ${bytes} bytes; the limit is ${limits.payloadBytes}`, seq);
  }
}

/** @throws RecordError bad_json */
export function admitDepth(depth: number, limits: RecordLimits, seq: number): void {
  if (depth > limits.depth) {
    throw new RecordError('bad_json', `the payload nests ${depth} levels deep; the limit is ${limits.depth}`, seq);
  }
}

/** A value of a member that should have been a number. Not JSON.stringify of it: that fails where it nests deep. */
function show(value: unknown): string {
  if (typeof value === 'string') return JSON.stringify(value.slice(0, 40));
  if (typeof value === 'object' && value !== null) return Array.isArray(value) ? 'an array' : 'an object';
  return String(value);
}
