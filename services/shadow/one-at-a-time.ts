/** Work that is done one after the other, in the order in which it was asked for; what failed holds nothing up. */
export class OneAtATime {
  /** Settles, never rejects, when the last work is over. */
  #last: Promise<unknown> = Promise.resolve();

  /** Does `work` when its turn comes. */
  run<T>(work: () => Promise<T>): Promise<T> {
    const turn = this.#last.then(work);
    this.#last = turn.catch(() => undefined);
    return turn;
  }
}
