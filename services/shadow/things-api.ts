/** What the parts of shadow ask of its things (things.ts): reads, and changes that are written together. */
import type { CommandWrite } from './store.js';
import type { Thing } from './thing.js';

/** Keeps a command's new value, in the same change as the things. */
export type PutCommand = (command: CommandWrite) => void;

export interface ThingsApi {
  /**
   * Things by their ids, as they are now; what was applied of them may be milliseconds away from being on disk. A thing
   * that was never heard of is empty (thing.isKnown is false).
   * @throws HoldfastError store (retry) while the store is away
   */
  get(ids: readonly string[]): Promise<Thing[]>;

  /**
   * Changes things and commands in one synchronous step, after whatever came before. All of it is written in one change,
   * and the promise resolves once that is durable. Where `work` throws, nothing is written (it must not have changed a
   * thing before it throws) and the promise rejects with its error.
   * @param work gets the things in the order of `ids`, and the values of `commandIds` as of this step
   * @throws HoldfastError store (retry) while the store is away
   */
  change<T>(
    ids: readonly string[],
    commandIds: readonly string[],
    work: (things: readonly Thing[], commands: readonly (Buffer | undefined)[], put: PutCommand) => T,
  ): Promise<T>;

  /** The values of commands as they are now. */
  commands(ids: readonly string[]): Promise<(Buffer | undefined)[]>;

  /** Calls back for every thing whose documents or pending commands have changed, once the change is durable. */
  onWritten(listener: (thing: Thing) => void): void;
}
