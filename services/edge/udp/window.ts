/**
 * Which records of a device are known to be on disk, as far as its acks need it: a range `first..last` of seqs without a
 * gap, and a bitmap of those behind the gap after it. Only what this process has committed gets in, so everything that it
 * says is true, whatever was lost, restarted or sent to another edge meanwhile.
 *
 * It starts at the first seq it sees and moves with the device: a seq too far behind the gap drops the range before the gap,
 * a seq before the range starts anew there. What was noted last is always named, so a device that sends again what no ack
 * has named is told of at least one record each time; one whose seqs under way lie within 33 is told of all.
 *
 * Beside it stand the times of the last seqs, because a record is its seq and its time: only what has both is a resend, and
 * is not stored again. A seq that comes with another time is a device that counts anew: all that was known is forgotten.
 */
import type { Known } from './datagram.js';

/** Seqs after `last` that the bitmap reaches: `last + 1` is the gap. */
const REACH = 33;
/** Records whose times are remembered. */
const TIMES = 32;

export class Window {
  #first = 0;
  #last = 0;
  /** Bit i: last + 2 + i. */
  #bitmap = 0;
  /** The seq in each slot, by seq % TIMES, and its time behind it. */
  readonly #times = new Float64Array(2 * TIMES);

  /** undefined before the first record. */
  get known(): Known | undefined {
    return this.#last === 0 ? undefined : { first: this.#first, last: this.#last, bitmap: this.#bitmap >>> 0 };
  }

  /** True for a record that was noted lately, with the same time. */
  has(seq: number, timeMs: number): boolean {
    const slot = 2 * (seq % TIMES);
    return this.#times[slot] === seq && this.#times[slot + 1] === timeMs;
  }

  /** Notes a record that is on disk. @param seq of at least 1 */
  note(seq: number, timeMs: number): void {
    const slot = 2 * (seq % TIMES);
    if (this.#times[slot] === seq && this.#times[slot + 1] !== timeMs) this.#forget();
    this.#times[slot] = seq;
    this.#times[slot + 1] = timeMs;
    if (this.#last === 0) this.#restart(seq);
    else if (seq < this.#first) this.#goBack(seq);
    else if (seq > this.#last) this.#goOn(seq);
  }

  #forget(): void {
    this.#times.fill(0);
    this.#last = 0;
  }

  #restart(seq: number): void {
    this.#first = seq;
    this.#last = seq;
    this.#bitmap = 0;
  }

  /** A seq before the range: next to it the range grows, else it starts anew. */
  #goBack(seq: number): void {
    if (seq + 1 === this.#first) this.#first = seq;
    else this.#restart(seq);
  }

  #goOn(seq: number): void {
    while (seq > this.#last + REACH) {
      if (this.#bitmap === 0) {
        this.#restart(seq);
        return;
      }
      this.#dropRange();
    }
    if (seq <= this.#last) return;
    if (seq > this.#last + 1) {
      this.#bitmap |= 1 << (seq - this.#last - 2);
      return;
    }
    this.#last = seq;
    this.#takeRun();
  }

  /** Forgets the range before the gap; the first run behind the gap takes its place. */
  #dropRange(): void {
    const zeros = 31 - Math.clz32(this.#bitmap & -this.#bitmap);
    this.#first = this.#last + 2 + zeros;
    this.#last = this.#first;
    // Bit zeros was the seq that is `last` now.
    this.#bitmap = zeros === 31 ? 0 : this.#bitmap >>> (zeros + 1);
    this.#takeRun();
  }

  /** What follows `last` without a gap joins the range. Before it bit i is `last + 1 + i`, after it `last + 2 + i`. */
  #takeRun(): void {
    while ((this.#bitmap & 1) === 1) {
      this.#last++;
      this.#bitmap >>>= 1;
    }
    this.#bitmap >>>= 1;
  }
}
