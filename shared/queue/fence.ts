/**
 * The fence of a queue: the epoch of its last open, kept in the file itself as the version of one entry. Every commit
 * holds only while that is still the epoch of its writer, which LMDB decides within the transaction. Where a second
 * writer opened the same file all the same, the first one's next commit fails, and nothing of the two is ever mixed.
 */
import type { Database, RootDatabase } from 'lmdb';

const EPOCH = 'epoch';
/** The entry's version says it all. */
const VALUE = Buffer.of(0);

export class Fence {
  private constructor(
    private readonly database: Database<Buffer, string>,
    /** Greater than that of every open before, and at least the clock's ms since 1970. */
    readonly epoch: number,
  ) {}

  /** Takes a new epoch, durably; whoever had the last one cannot commit any more. */
  static take(root: RootDatabase<Buffer, Buffer>): Fence {
    const options = { encoding: 'binary', keyEncoding: 'ordered-binary', useVersions: true } as const;
    const database = root.openDB<Buffer, string>('fence', options);
    const epoch = root.transactionSync(() => {
      const last = database.getEntry(EPOCH)?.version ?? 0;
      const next = Math.max(last + 1, Date.now());
      if (!Number.isSafeInteger(next)) throw new Error(`the epoch ${last} of the last open is none`);
      void database.put(EPOCH, VALUE, next);
      return next;
    });
    return new Fence(database, epoch);
  }

  /**
   * Commits what `write` puts and removes, as one fsynced transaction.
   * @returns false, with nothing written, where another writer has taken an epoch since
   */
  commit(write: () => void): Promise<boolean> {
    return this.database.ifVersion(EPOCH, this.epoch, write);
  }
}
