/**
 * One device that sends its records by HTTP, on one connection that it keeps, with one request under way. What is to be sent
 * meanwhile waits for the answer and goes in the next request, as many records as one holds.
 *
 * There is no session: a connection that the edge closes while nothing is under way (it does after some seconds) is opened
 * again for the next record, and the device stays up.
 */
import type { ConnectionOwner, DeviceIdentity, RecordRun } from './connection.js';
import { readRecordsAnswer, type RecordsAnswer } from './http-answer.js';
import type { HttpDialer } from './http-dialer.js';
import { partOf } from './record-messages.js';
import { StreamConnection } from './stream-connection.js';

export class HttpConnection extends StreamConnection {
  readonly #head: string;
  /** What is to be sent, in order, without a gap; undefined: nothing. */
  #waiting: RecordRun | undefined;
  /** The records of the request under way. */
  #asked: RecordRun | undefined;
  /** Idle: the edge has closed, and nothing was to be sent since. */
  #state: 'connecting' | 'open' | 'closing' | 'idle' = 'connecting';
  #isOpened = false;

  constructor(
    private readonly dialer: HttpDialer,
    device: DeviceIdentity,
    owner: ConnectionOwner,
  ) {
    super(dialer, device, owner);
    this.#head = dialer.head(device);
  }

  override send(run: RecordRun): void {
    const waiting = this.#waiting;
    this.#waiting = waiting === undefined ? run : partOf(waiting, 0, waiting.count + run.count);
    this.#ask();
  }

  protected override connected(): void {
    this.#state = 'open';
    if (!this.#isOpened) {
      this.#isOpened = true;
      this.owner.opened(this.dialer.messages.recordsPerMessage);
    }
    this.#ask();
  }

  protected override goodbye(): undefined {
    return undefined;
  }

  protected override lost(reason: string): void {
    if (this.#state === 'connecting' || this.#asked !== undefined) {
      this.fail(reason);
      return;
    }
    this.#state = 'idle';
    this.#ask();
  }

  protected override consume(bytes: Buffer, end: number): number {
    const read = readRecordsAnswer(bytes, end);
    if (read === undefined) return 0;
    const asked = this.#asked;
    if (asked === undefined || read.bytes !== end) throw new Error('the edge answers more than it was asked');
    this.#asked = undefined;
    if (read.answer.isLast) this.#state = 'closing';
    this.#settle(asked, read.answer);
    if (!this.isOver) this.#ask();
    return end;
  }

  #ask(): void {
    const waiting = this.#waiting;
    if (waiting === undefined || this.#asked !== undefined) return;
    if (this.#state === 'idle') {
      this.#state = 'connecting';
      this.reopen();
    }
    if (this.#state !== 'open') return;
    const { messages } = this.dialer;
    const count = Math.min(waiting.count, messages.recordsPerMessage);
    this.#asked = partOf(waiting, 0, count);
    this.#waiting = count === waiting.count ? undefined : partOf(waiting, count, waiting.count - count);
    if (!this.write(this.dialer.request(this.#head, this.#asked))) messages.leaveBuffer();
  }

  /**
   * Tells what became of the records, in the order of their seqs, so that one in error behind the last that is on disk is
   * settled too.
   */
  #settle(asked: RecordRun, { ack = 0, errors, refusal, status }: RecordsAnswer): void {
    const lastSeq = asked.firstSeq + asked.count - 1;
    if (ack > lastSeq) throw new Error(`an ack of ${ack}, where ${lastSeq} was sent last`);
    // Where there was no room, the errors end with the one that says so.
    const inError = refusal === undefined ? errors : errors.filter(({ seq }) => seq !== undefined);
    for (const { seq, problem } of inError) if (seq !== undefined && seq < ack) this.owner.refused(seq, problem);
    if (ack >= asked.firstSeq) this.owner.acked(ack);
    for (const { seq, problem } of inError) if (seq !== undefined && seq > ack) this.owner.refused(seq, problem);
    if (this.isOver) return;
    if (refusal === undefined) {
      const unnamed = inError.find(({ seq }) => seq === undefined);
      if (unnamed !== undefined) this.owner.refused(undefined, unnamed.problem);
    } else if (status === 413) {
      // Of a single record too: it will never be taken.
      this.owner.refused(asked.count === 1 ? asked.firstSeq : undefined, refusal.reason);
      if (asked.count === 1) this.fail('the edge closes after a body that is too large');
    } else {
      this.end(refusal);
    }
  }
}
