/**
 * The transactions of a queue's writer, one after the other, each fenced and fsynced. The first that fails is the last:
 * LMDB must not be used after it, so the owner is told once, and everything after it is refused.
 */
import { HoldfastError, messageOf } from '../errors.js';
import { Fence } from './fence.js';
import { causeOfFailure, type Store } from './store.js';

export class Transactions {
  readonly #fence: Fence;
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
    if (this.#state === 'open') return undefined;
    return new HoldfastError('queue_closed', `the queue in ${this.path} is closed`, false);
  }

  /**
   * Runs what `write` puts and removes, at once, as one transaction. Resolves when it is on disk.
   * @throws HoldfastError commit_failed or fenced, after onFailure was called; queue_closed
   */
  async run(write: () => void): Promise<void> {
    if (this.refusal !== undefined) throw this.refusal;
    const commit = this.#fence.commit(write);
    this.#last = commit;
    let isOurs: boolean;
    try {
      isOurs = await commit;
    } catch (error) {
      const cause = await causeOfFailure(error);
      throw this.#fail('commit_failed', `failed: ${messageOf(cause)}; nothing of it was acked`, cause);
    }
    if (!isOurs) throw this.#fail('fenced', 'was refused: another process has opened the queue since');
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

  #fail(code: 'commit_failed' | 'fenced', what: string, cause?: unknown): HoldfastError {
    const failure = new HoldfastError(code, `a commit to the queue in ${this.path} ${what}`, false, cause);
    if (this.#state !== 'failed') {
      this.#state = 'failed';
      this.onFailure(failure);
    }
    return failure;
  }
}
