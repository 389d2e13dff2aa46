/**
 * Which of a device's records are done. Seqs are given without a gap, so what is still to be acked is everything after
 * `done` except a few single seqs: no entry a record is kept.
 */
export class Ledger {
  #done: number;
  #last: number;
  /** Seqs after #done that are done before their turn: refused by the edge, or unreadable. */
  readonly #settled = new Set<number>();

  /** @param done every record through it is done */
  constructor(done = 0) {
    this.#done = done;
    this.#last = done;
  }

  /** Every record through this seq is acked or was refused. */
  get done(): number {
    return this.#done;
  }

  /** The last seq that was given; 0: none. */
  get last(): number {
    return this.#last;
  }

  /** How many records are neither acked nor refused. */
  get open(): number {
    return this.#last - this.#done - this.#settled.size;
  }

  isOpen(seq: number): boolean {
    return seq > this.#done && seq <= this.#last && !this.#settled.has(seq);
  }

  /** Takes note of a record with the next seq, or of all up to a later one. */
  give(seq: number): void {
    this.#last = Math.max(this.#last, seq);
  }

  /**
   * Every record through `seq` is done.
   * @returns false where that was known
   */
  settleThrough(seq: number): boolean {
    const through = Math.min(seq, this.#last);
    if (through <= this.#done) return false;
    if (this.#settled.size > 0) {
      for (const early of this.#settled) if (early <= through) this.#settled.delete(early);
    }
    this.#done = through;
    this.#advance();
    return true;
  }

  /**
   * One record is done.
   * @returns false where that was known, or the seq was never given
   */
  settle(seq: number): boolean {
    if (!this.isOpen(seq)) return false;
    this.#settled.add(seq);
    this.#advance();
    return true;
  }

  #advance(): void {
    while (this.#settled.delete(this.#done + 1)) this.#done++;
  }
}
