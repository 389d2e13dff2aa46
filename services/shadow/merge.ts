/**
 * Merging one patch into a section.
 *
 * The rule of times. Two paths touch where one is the beginning of the other. What is said of a path, a value or a
 * removal, ends everything that it touches and that is not newer; and where something newer touches it, it sets nothing
 * itself. So the state depends on the times of the patches and not on the order of their arrival: it is that of merging
 * them in the order of their times. In particular:
 *
 * - a value or a removal holds where the field is not newer (at equal times what arrives later holds);
 * - a value in the place of an object replaces it where nothing in it is newer; otherwise it only removes what is older;
 * - an object in the place of a value replaces it where the value is not newer;
 * - the removal of an object takes what is not newer in it.
 *
 * Empty objects are kept, as AWS keeps them: a patch that has a value in an object, or has it empty, also says that there
 * is an object. So `{}` makes one or leaves one as it is, and an object whose last field is removed stays, empty. An object
 * of nothing but removals makes none.
 *
 * A removal, and a value that an object took the place of, is remembered as long as late patches must be known by it
 * (removals.ts). That memory is bounded: a patch older than a forgotten removal can bring a field back.
 */
import { Branch, type Field, type Leaf, type Value } from './branch.js';
import { isJsonObject, type Json, type JsonObject } from './json.js';
import { replacedBytes, saysAnything } from './patch.js';
import { Removals, type Path } from './removals.js';

const ROOT: Path = [];
const NO_REMOVALS = new Removals();

/** What is merged into: a section. */
export interface Merged {
  readonly root: Branch;
  removals?: Removals | undefined;
}

export class Merge {
  /** True where the patch, or a part of it, was not older than what was there. */
  changed = false;
  /** Of the bytes that checkPatch counted for the patch: those it does not add, because values went. */
  replaced = 0;
  readonly #into: Merged;
  readonly #timeMs: number;

  constructor(into: Merged, timeMs: number) {
    this.#into = into;
    this.#timeMs = timeMs;
  }

  patch(patch: JsonObject): void {
    this.#object(this.#into.root, patch, ROOT);
  }

  removeAll(): void {
    const { root } = this.#into;
    const isNewest = root.newestMs <= this.#timeMs;
    if (root.removeUntil(this.#timeMs)) this.changed = true;
    if (this.#remember(ROOT, this.#timeMs) && isNewest) this.changed = true;
  }

  #object(branch: Branch, patch: JsonObject, path: Path): void {
    const { names, slots } = branch;
    const timeMs = this.#timeMs;
    let edit: Edit | undefined;
    let isEmpty = true;
    let isSaid = false;
    let replaced = 0;
    let expected = 0;
    for (const key in patch) {
      isEmpty = false;
      const value = patch[key]!;
      // A device mostly says the same fields in the same order.
      const at = names.list[expected] === key ? expected : names.find(key);
      expected = at + 1;
      // The way of almost every field of every report. A branch has no time among the slots.
      if (at >= 0 && typeof value !== 'object' && slots[2 * at]! <= timeMs) {
        if (typeof value === 'number' && slots[2 * at + 1]! > -Infinity) {
          slots[2 * at] = timeMs;
          slots[2 * at + 1] = value;
        } else branch.put(at, value, timeMs);
        isSaid = true;
        replaced += replacedBytes(key);
        continue;
      }
      const current = at < 0 ? undefined : branch.valueAt(at);
      if (saysAnything(value)) isSaid = true;
      const next = this.#field(current, at < 0 ? -Infinity : branch.timeAt(at), value, [...path, key]);
      if (next !== current) (edit ??= new Edit(branch)).put(key, at, next, timeMs);
    }
    edit?.finish();
    if (replaced > 0) {
      this.changed = true;
      this.replaced += replaced;
    }
    // The root is always there; its time is not needed, and setting it would cost every report a miss of the cache.
    if (path.length > 0 && (isSaid || isEmpty) && branch.timeMs < timeMs) {
      branch.timeMs = timeMs;
      if (isEmpty) this.changed = true;
    }
  }

  /** @returns what is in the field afterwards, which is `current` itself where that stays */
  #field(current: Value | undefined, currentMs: number, value: Json, path: Path): Value | undefined {
    if (value === null) return this.#remove(current, currentMs, path);
    if (isJsonObject(value)) return this.#nested(current, currentMs, value, path);
    return this.#leaf(current, currentMs, value, path);
  }

  #remove(current: Value | undefined, currentMs: number, path: Path): Value | undefined {
    if (currentMs > this.#timeMs) {
      if (current instanceof Branch) this.#removePart(current, path);
      return current;
    }
    if (this.#remember(path, this.#timeMs) || current !== undefined) this.changed = true;
    return undefined;
  }

  /** Removes what is not newer from an object with something newer in it. */
  #removePart(branch: Branch, path: Path): void {
    if (branch.removeUntil(this.#timeMs)) this.changed = true;
    this.#remember(path, this.#timeMs);
  }

  #nested(current: Value | undefined, currentMs: number, patch: JsonObject, path: Path): Value | undefined {
    if (current instanceof Branch) {
      this.#object(current, patch, path);
      return current;
    }
    if (currentMs > this.#timeMs || this.#removals.covers(path, this.#timeMs)) return current;
    if (current !== undefined) {
      // What the value had ended stays ended.
      this.#remember(path, currentMs);
      this.changed = true;
    }
    const isSaid = saysAnything(patch);
    if (isSaid) this.changed = true;
    const branch = new Branch(this.#timeMs);
    this.#object(branch, patch, path);
    return isSaid ? branch : undefined;
  }

  #leaf(current: Value | undefined, currentMs: number, value: Leaf, path: Path): Value | undefined {
    const removals = this.#removals;
    if (current instanceof Branch && currentMs > this.#timeMs) {
      this.#removePart(current, path);
      return current;
    }
    if (currentMs > this.#timeMs || removals.covers(path, this.#timeMs)) return current;
    if (removals.coversPartOf(path, this.#timeMs)) {
      this.#remember(path, this.#timeMs);
      if (current !== undefined) this.changed = true;
      return undefined;
    }
    removals.forget(path, this.#timeMs);
    this.changed = true;
    return value;
  }

  get #removals(): Removals {
    return this.#into.removals ?? NO_REMOVALS;
  }

  #remember(path: Path, timeMs: number): boolean {
    this.#into.removals ??= new Removals();
    return this.#into.removals.add(path, timeMs);
  }
}

/** What changes of a branch's names; its values and times are changed in place. */
class Edit {
  readonly #branch: Branch;
  readonly #added: Field[] = [];
  readonly #gone = new Set<number>();

  constructor(branch: Branch) {
    this.#branch = branch;
  }

  /** @param at where the field is now; -1: nowhere */
  put(name: string, at: number, value: Value | undefined, timeMs: number): void {
    if (value === undefined) this.#gone.add(at);
    else if (at < 0) this.#added.push({ name, value, timeMs });
    else this.#branch.put(at, value, timeMs);
  }

  finish(): void {
    if (this.#gone.size > 0 || this.#added.length > 0) this.#branch.change(this.#gone, this.#added);
  }
}
