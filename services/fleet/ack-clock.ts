/**
 * How long records wait for their ack, from being sent: what is under way on one connection is a few runs, each with the
 * moment at which it went, so an ack is matched without anything kept a record.
 */
import type { Histogram } from './histogram.js';

export class AckClock {
  /** Last seq of a run and when it was sent, one pair after the other. */
  #marks: number[] = [];
  #ackedSeq = 0;

  constructor(private readonly histogram: Histogram) {}

  /** A connection begins: nothing of it is under way. @param ackedSeq all up to it is settled */
  reset(ackedSeq: number): void {
    this.#marks = [];
    this.#ackedSeq = ackedSeq;
  }

  sent(lastSeq: number, nowMs: number): void {
    this.#marks.push(lastSeq, nowMs);
  }

  acked(seq: number, nowMs: number): void {
    let used = 0;
    while (used < this.#marks.length && this.#ackedSeq < seq) {
      const through = Math.min(seq, this.#marks[used]!);
      if (through > this.#ackedSeq) this.histogram.add(nowMs - this.#marks[used + 1]!, through - this.#ackedSeq);
      this.#ackedSeq = through;
      if (this.#marks[used]! > seq) break;
      used += 2;
    }
    if (used > 0) this.#marks.splice(0, used);
  }
}
