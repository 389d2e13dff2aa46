/**
 * Seqs for records that come without one, over protocols where a request or a packet stands by itself.
 *
 * A WebSocket's edge can count 1, 2, 3… for its connection. Where each request is a session of its own, two records of one
 * device that came in the same millisecond would both be number 1, and the table's key (device, time, seq) would take the
 * second for a resend of the first. So these come from the clock, in microseconds, and rise whatever the clock does: one
 * instance serves the whole process. After a restart the clock has gone on; a clock that was set back over a restart
 * repeats seqs, but then the time of the records, taken from the same clock, would have to be repeated to the millisecond.
 *
 * They say nothing of what a device has sent before: a record that is sent again gets another seq, and is stored again.
 */

/** Seqs in one millisecond before they run ahead of the clock. */
const SEQS_A_MS = 1_000;

export class AssignedSeqs {
  #last = 0;

  /**
   * A seq that was never given before by this process, greater than all that were.
   * @param nowMs ms since 1970; about 1.7e15 comes out in our days, a safe integer until the year 2255
   */
  next(nowMs: number): number {
    this.#last = Math.max(this.#last + 1, Math.floor(nowMs) * SEQS_A_MS);
    return this.#last;
  }
}
