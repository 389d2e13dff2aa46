/**
 * A section of a document, desired or reported: what was said of each field, and when. The rule of times is in merge.ts.
 */
import { Branch } from './branch.js';
import type { JsonObject } from './json.js';
import { Merge, type Merged } from './merge.js';
import type { Removals } from './removals.js';

export class Section implements Merged {
  constructor(
    readonly root = new Branch(-Infinity),
    public removals?: Removals,
  ) {}

  /** The newest time of anything that was said in it; -Infinity where nothing was. */
  get newestMs(): number {
    return Math.max(this.root.newestMs, this.removals?.newestMs ?? -Infinity);
  }

  clone(): Section {
    return new Section(this.root.clone(), this.removals?.clone());
  }

  /**
   * Merges a patch that checkPatch has passed; null removes everything.
   * @returns whether it changed anything, and what to count of it
   */
  merge(patch: JsonObject | null, timeMs: number): Merge {
    const merge = new Merge(this, timeMs);
    if (patch === null) merge.removeAll();
    else merge.patch(patch);
    return merge;
  }

  /** Removes everything, and is from then on open only to what is newer than anything that was in it. */
  clear(): void {
    const newestMs = this.newestMs;
    if (newestMs !== -Infinity) this.merge(null, newestMs);
  }
}
