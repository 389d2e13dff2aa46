/**
 * The transactions of a queue's writer, each fenced and fsynced. One starts when the one before has succeeded: lmdb-js would
 * run what is queued behind a failed one all the same, which would leave a hole in the queue with acked batches behind it
 * (and LMDB must not be used after a failure). The first that fails is the last; the owner is told once.
 */
import { HoldfastError, messageOf } from '../errors.js';
import { Fence } from './fence.js';
import { causeOfFailure, type Store } from './store.js';

export class Transactions {
  readonly #fence: Fence;
  /** Settles, never rejects, when the last transaction is over. */
  #last: Promise<unknown> = Promise.resolve();
  #state: 'open' | 'failed' | 'closed' = 'open';

  /** @param onFailure called once, when a transaction failed: the process must end */
  constructor(
    private readonly path: string,
    store: Store,
    private readonly onFailure: (error: HoldfastError) => void,
  ) {
    this.#fence = Fence.take(store.root);
  }

  /** The epoch of this open of the queue. */
  get epoch(): number {
    return this.#fence.epoch;
  }

  /** The error for whoever wants a transaction when there are no more. */
  get refusal(): HoldfastError | undefined {
    return this.#state === 'open' ? undefined : this.#closed();
  }

  /**
   * Runs what `write` puts and removes as one transaction, when its turn comes. Resolves when it is on disk.
   * @throws HoldfastError commit_failed or fenced, after onFailure was called; queue_closed
   */
  async run(write: () => void): Promise<void> {
    if (this.refusal !== undefined) throw this.refusal;
    const before = this.#last;
    const transaction = this.#runAfter(before, write);
    this.#last = transaction.catch(() => undefined);
    await transaction;
  }

  /** Lets no transaction begin until `over` settles. Resolves when none is under way. */
  async hold(over: Promise<void>): Promise<void> {
    const before = this.#last;
    this.#last = before.then(() => over);
    await before;
  }

  /** Lets a transaction go on by itself: that onFailure was told is enough where it fails. */
  inBackground(transaction: Promise<unknown>): void {
    transaction.catch((error: unknown) => {
      if (this.#state === 'open') throw error;
    });
  }

  /** Takes no more transactions, and waits for those under way. */
  async close(): Promise<void> {
    if (this.#state === 'open') this.#state = 'closed';
    await this.#last;
  }

  async #runAfter(before: Promise<unknown>, write: () => void): Promise<void> {
    await before;
    if (this.#state === 'failed') throw this.#closed();
    let isOurs: boolean;
    try {
      isOurs = await this.#fence.commit(write);
    } catch (error) {
      this.#state = 'failed';
      const cause = await causeOfFailure(error);
      throw this.#fail('commit_failed', `failed: ${messageOf(cause)}; nothing of it was acked`, cause);
    }
    if (!isOurs) throw this.#fail('fenced', 'was refused: another process has opened the queue since');
  }

  #fail(code: 'commit_failed' | 'fenced', what: string, cause?: unknown): HoldfastError {
    this.#state = 'failed';
    const failure = new HoldfastError(code, `a commit to the queue in ${this.path} ${what}`, false, cause);
    this.onFailure(failure);
    return failure;
  }

  #closed(): HoldfastError {
    return new HoldfastError('queue_closed', `the queue in ${this.path} is closed`, false);
  }
}
