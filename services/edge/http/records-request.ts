/**
 * One request with records: a device's session of its own, which begins with the body and ends with the answer. All its
 * records are taken in one turn, so they are in one group and one commit; the answer follows that commit.
 *
 * It is no presence: no `online`, no take-over, nothing that shadow could send to. Where the client goes away before the
 * answer, what was taken is committed all the same; a client that sends it again with the same seq and time stores nothing
 * twice.
 */
import type { Ingest } from '../ingest.js';
import type { FrameRecord } from '../json-frames.js';
import { MAX_FRAME_ERRORS, RecordError } from '../record-rules.js';
import { DeviceSession, type Ending, type RecordErrorCode, type Replies } from '../session.js';
import { noRoomAnswer, recordsAnswer, type Answer, type RecordProblem } from './answers.js';
import { elementsOf, type BodyForm, type Element } from './body-elements.js';
import type { ReadRecord, Reading } from './record-readers.js';

type NoRoom = Extract<Ending, { why: 'no_room' }>;

export class RecordsRequest implements Replies {
  readonly session: DeviceSession;
  readonly #errors: RecordProblem[] = [];
  #index = 0;
  #acked = 0;
  #isReading = true;
  #noRoom: NoRoom | undefined;
  /** The first record that there was no room for. */
  #noRoomIndex = 0;

  /** @param onError called for every record in error */
  constructor(
    deviceId: string,
    private readonly answer: (answer: Answer) => void,
    private readonly onError: (code: RecordErrorCode) => void,
  ) {
    this.session = new DeviceSession(deviceId, this);
  }

  /** Takes the records of the body, which is valid during the call, and answers once they are on disk. */
  take(body: Buffer, form: BodyForm, read: ReadRecord, reading: Omit<Reading, 'session'>, ingest: Ingest): void {
    const ownReading: Reading = { ...reading, session: this.session };
    for (const element of elementsOf(body, form)) {
      if (element instanceof RecordError) this.#note(element);
      else if (!this.#takeElement(element, read, ownReading, ingest)) break;
      this.#index++;
      if (this.#errors.length > MAX_FRAME_ERRORS) {
        this.error(
          'bad_record',
          `more than ${MAX_FRAME_ERRORS} records are in error; the rest was not read`,
          undefined,
        );
        break;
      }
    }
    this.#isReading = false;
    if (this.#index === 0 && this.#noRoom === undefined && this.session.unackedBytes === 0) {
      this.error('bad_record', 'there is no record in the body', undefined);
    }
    if (this.session.unackedBytes === 0) this.#answerNow();
  }

  ack(seq: number): void {
    this.#acked = seq;
    // Where it was sent away, close follows.
    if (this.session.isTaking) this.#answerNow();
  }

  error(code: RecordErrorCode, message: string, seq: number | undefined): void {
    this.onError(code);
    this.#errors.push({ index: this.#index, code, message, ...(seq === undefined ? {} : { seq }) });
  }

  close(ending: Ending): void {
    if (ending.why === 'no_room') this.#noRoom = ending;
    // The queue refuses a group whole, after it was read.
    this.#noRoomIndex = this.#isReading || this.#acked > 0 ? this.#index : 0;
    if (!this.#isReading) this.#answerNow();
  }

  /** @returns false where nothing more is taken */
  #takeElement(element: Element, read: ReadRecord, reading: Reading, ingest: Ingest): boolean {
    let record: FrameRecord;
    try {
      record = read(element, reading);
    } catch (error) {
      if (!(error instanceof RecordError)) throw error;
      this.#note(error);
      return true;
    }
    const { kind, seq, timeMs, start, end } = record;
    return ingest.take(this.session, kind, seq, timeMs, reading.receivedMs, element.text, start, end);
  }

  #note({ code, message, seq }: RecordError): void {
    this.error(code, message, seq);
  }

  #answerNow(): void {
    if (this.#noRoom === undefined) this.answer(recordsAnswer(this.#acked, this.#errors));
    else this.answer(noRoomAnswer(this.#acked, this.#errors, this.#noRoomIndex, this.#noRoom));
  }
}
