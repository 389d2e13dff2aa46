/**
 * A section of a document, desired or reported: what was said of each field, and when. The rule of times is in merge.ts.
 *
 * Its size is kept as a bound from above: each patch adds what it can add at most. The document measures it exactly only
 * where the bound passes the limit.
 */
import { Branch } from './branch.js';
import type { JsonObject } from './json.js';
import { Merge } from './merge.js';
import type { Removals } from './removals.js';

export class Section {
  /** At least the bytes of its JSON. Infinity where that was never measured. */
  bytes: number;

  constructor(
    readonly root = new Branch(-Infinity),
    public removals: Removals | undefined = undefined,
  ) {
    this.bytes = root.isEmpty ? 2 : Infinity;
  }

  /** The newest time of anything that was said in it; -Infinity where nothing was. */
  get newestMs(): number {
    return Math.max(this.root.timeMs, this.removals?.newestMs ?? -Infinity);
  }

  clone(): Section {
    const clone = new Section(this.root.clone(), this.removals?.clone());
    clone.bytes = this.bytes;
    return clone;
  }

  /** @returns the exact size of its JSON, bytes in UTF-8 */
  measure(): number {
    this.bytes = this.root.jsonBytes();
    return this.bytes;
  }

  /**
   * Merges a patch that checkPatch has passed; null removes everything.
   * @param growth what checkPatch returned for it
   * @returns false where all of it is older than what is there; then the document is as it was
   */
  merge(patch: JsonObject | null, timeMs: number, growth: number): boolean {
    const merge = new Merge(this, timeMs);
    if (patch === null) merge.removeAll();
    else merge.patch(patch);
    this.bytes += growth - merge.replaced;
    return merge.changed;
  }

  /** Removes everything, and is from then on open only to what is newer than anything that was in it. */
  clear(): void {
    if (this.newestMs !== -Infinity) this.merge(null, this.newestMs, 0);
    this.bytes = 2;
  }
}
