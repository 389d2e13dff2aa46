/**
 * The records of a publish, checked as those of the other protocols, each with a seq and a time.
 *
 * A seq that the device gives must be greater than the last one it gave on this connection. A record without one gets the
 * edge's (assigned-seq.ts), which is unlike any other but is another one when the record is sent again: such a record is
 * stored at least once. The user properties `seq` and `time` stand for those of a record that does not say them itself.
 */
import { RECORD_HEADER_BYTES, type Kind } from '../../../shared/batch.js';
import type { AssignedSeqs } from '../assigned-seq.js';
import { admitPayload } from '../payload-rules.js';
import { admitDepth, admitSize, admitTime, MAX_FRAME_ERRORS, RecordError, type RecordLimits } from '../record-rules.js';
import { readPayload, type Said } from './payloads.js';
import type { Publish } from './publish.js';
import type { UpTopic } from './topics.js';

/** A record to be taken; its payload is `source[start..end)`. */
export interface MqttRecord {
  readonly seq: number;
  readonly timeMs: number;
  readonly source: Buffer;
  readonly start: number;
  readonly end: number;
}

/** What became of a publish's records. */
export interface RecordsOutcome {
  readonly records: readonly MqttRecord[];
  readonly errors: readonly RecordError[];
  /** What the ingest will count for the records. */
  readonly bytes: number;
}

type RecordsTopic = Extract<UpTopic, { readonly action: 'records' }>;
type UserProperties = Pick<Publish, 'seqText' | 'timeText'>;

export class RecordReader {
  #lastGiven = 0;
  #lastGivenBefore = 0;

  constructor(
    private readonly idBytes: number,
    private readonly limits: RecordLimits & { readonly windowBytes: number },
    private readonly assigned: AssignedSeqs,
  ) {}

  /** Reads all records of a publish; what is wrong with one is said of that one. */
  read(topic: RecordsTopic, user: UserProperties, payload: Buffer, receivedMs: number): RecordsOutcome {
    this.#lastGivenBefore = this.#lastGiven;
    const records: MqttRecord[] = [];
    const errors: RecordError[] = [];
    let bytes = 0;
    try {
      const { count, say } = readPayload(payload, topic.kind, topic.form, topic.commandId);
      if (count !== 1 && (user.seqText !== undefined || user.timeText !== undefined)) {
        throw new RecordError('bad_record', 'the user properties "seq" and "time" are for a single record');
      }
      for (let index = 0; index < count; index++) {
        const record = this.#admit(topic.kind, say, index, count, user, receivedMs, errors);
        if (record === undefined) continue;
        records.push(record);
        bytes += RECORD_HEADER_BYTES + this.idBytes + record.end - record.start;
      }
      if (bytes > this.limits.windowBytes) throw this.#tooLarge(records.length, bytes);
    } catch (error) {
      if (!(error instanceof RecordError)) throw error;
      this.undo();
      return { records: [], errors: [error], bytes: 0 };
    }
    return { records, errors, bytes };
  }

  /** Forgets the last publish that was read: it will be read again. */
  undo(): void {
    this.#lastGiven = this.#lastGivenBefore;
  }

  /** @returns undefined where it is not admitted; `errors` says why */
  #admit(
    kind: Kind,
    say: (index: number) => Said,
    index: number,
    count: number,
    user: UserProperties,
    receivedMs: number,
    errors: RecordError[],
  ): MqttRecord | undefined {
    try {
      return this.#check(kind, say(index), user, receivedMs);
    } catch (error) {
      if (!(error instanceof RecordError)) throw error;
      const where = count === 1 ? '' : `record ${index + 1} of ${count}: `;
      if (errors.push(new RecordError(error.code, where + error.message, error.seq)) <= MAX_FRAME_ERRORS)
        return undefined;
      throw new RecordError('bad_record', `more than ${MAX_FRAME_ERRORS} of its records are bad; none is taken`);
    }
  }

  #check(kind: Kind, said: Said, user: UserProperties, receivedMs: number): MqttRecord {
    const given = said.seq ?? numberIn(user.seqText);
    const seq = given === undefined ? this.assigned.next(receivedMs) : this.#admitGiven(given);
    try {
      const timeMs = admitTime(said.time ?? numberIn(user.timeText), receivedMs, seq);
      const { start, end, depth } = said.span;
      admitSize(end - start, this.limits, seq);
      admitDepth(depth, this.limits, seq);
      admitPayload(kind, said.value, seq);
      return { seq, timeMs, source: said.source, start, end };
    } catch (error) {
      // The device does not know a seq that it did not give.
      if (!(error instanceof RecordError) || given !== undefined) throw error;
      throw new RecordError(error.code, error.message);
    }
  }

  #admitGiven(given: unknown): number {
    if (typeof given !== 'number' || !Number.isSafeInteger(given) || given < 1) {
      throw new RecordError('bad_seq', '"seq" must be a whole number of at least 1');
    }
    if (given <= this.#lastGiven) {
      const message = `"seq" is ${given}; it must be greater than ${this.#lastGiven}, the last one given before`;
      throw new RecordError('bad_seq', message, given);
    }
    this.#lastGiven = given;
    return given;
  }

  #tooLarge(count: number, bytes: number): RecordError {
    const message = `its ${count} records take ${bytes} bytes; a connection's window has ${this.limits.windowBytes}`;
    return new RecordError('too_large', message);
  }
}

/** The number that a user property says; NaN where it says none. */
function numberIn(text: string | undefined): number | undefined {
  return text === undefined ? undefined : /^\d+(\.\d+)?$/.test(text) ? Number(text) : Number.NaN;
}
