/**
 * The publishes of a connection that are not answered yet, in the order in which they came, as MQTT wants them answered.
 *
 * An ack of the ingest says that all is on disk that was taken from the session through some record. Seqs do not tell
 * which: a device may give them or leave them to the edge, by turns. So a publish is told by how many bytes had been taken
 * from its session once it was: what is acked is what was taken less what the session has unacked.
 */
import { Reason, type Reason as ReasonCode } from './reasons.js';

/** What is said of a publish beside that it was taken. */
export interface Answer {
  readonly reason: ReasonCode;
  readonly message: string;
  /** Called as its turn comes. */
  readonly then?: () => void;
}

/** Where answered publishes are still at the front of the lists, they are cut off once there are so many. */
const CUT = 1_024;
const PUBACK = 0x40;
const PUBACK_BYTES = 4;

export class PendingAcks {
  #ids: number[] = [];
  #throughs: number[] = [];
  #answers: (Answer | undefined)[] = [];
  #head = 0;
  /** Publishes of QoS 1 that wait. */
  count = 0;

  /**
   * @param packetId 0: QoS 0, which gets no PUBACK
   * @param through bytes taken from the session, once this publish was
   */
  add(packetId: number, through: number, answer: Answer | undefined): void {
    this.#ids.push(packetId);
    this.#throughs.push(through);
    this.#answers.push(answer);
    if (packetId !== 0) this.count++;
  }

  /**
   * Takes out all that can be answered, and calls what is to be called of them.
   * @param through bytes taken from the session that are on disk
   * @param refusal the PUBACK of a publish that was refused
   * @returns their PUBACKs in one piece; undefined: there are none
   */
  settle(through: number, refusal: (packetId: number, answer: Answer) => Buffer): Buffer | undefined {
    const first = this.#head;
    let end = first;
    while (end < this.#ids.length && this.#throughs[end]! <= through) end++;
    if (end === first) return undefined;
    const acks = this.#write(first, end, refusal);
    const calls = this.#answers.slice(first, end);
    this.#cut(end);
    for (const answer of calls) answer?.then?.();
    return acks;
  }

  #write(first: number, end: number, refusal: (packetId: number, answer: Answer) => Buffer): Buffer | undefined {
    const plain = Buffer.allocUnsafe((end - first) * PUBACK_BYTES);
    const pieces: Buffer[] = [];
    let from = 0;
    let at = 0;
    for (let index = first; index < end; index++) {
      const packetId = this.#ids[index]!;
      const answer = this.#answers[index];
      if (packetId === 0) continue;
      this.count--;
      if (answer === undefined || answer.reason === Reason.success) {
        plain[at] = PUBACK;
        plain[at + 1] = 2;
        plain[at + 2] = packetId >> 8;
        plain[at + 3] = packetId & 0xff;
        at += PUBACK_BYTES;
      } else {
        pieces.push(plain.subarray(from, at), refusal(packetId, answer));
        from = at;
      }
    }
    if (pieces.length === 0) return at === 0 ? undefined : plain.subarray(0, at);
    return Buffer.concat([...pieces, plain.subarray(from, at)]);
  }

  #cut(end: number): void {
    this.#head = end;
    if (end < this.#ids.length && end < CUT) return;
    this.#ids = this.#ids.slice(end);
    this.#throughs = this.#throughs.slice(end);
    this.#answers = this.#answers.slice(end);
    this.#head = 0;
  }
}
