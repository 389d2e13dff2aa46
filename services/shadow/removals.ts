/**
 * What a section remembers of fields that are gone: path → time of the removal, so that a late older report does not bring
 * them back. `[]` is the section itself.
 *
 * Bounded: the newest 32, and 4,096 characters of paths together. Beyond that the oldest removals are forgotten, and a
 * report that is older than a forgotten one can set the field again. Removals that a later one includes, and those that a
 * newer value has taken the place of, are not kept.
 */
export const MAX_REMOVALS = 32;
export const MAX_REMOVAL_CHARACTERS = 4_096;

export type Path = readonly string[];

export interface Removal {
  readonly path: Path;
  readonly timeMs: number;
}

export class Removals {
  #list: readonly Removal[];
  #newestMs = -Infinity;

  constructor(list: readonly Removal[] = []) {
    this.#list = list;
    this.#measure();
  }

  get list(): readonly Removal[] {
    return this.#list;
  }

  /** -Infinity where there is none. */
  get newestMs(): number {
    return this.#newestMs;
  }

  /** True where the field at the path, or something that it is part of, was removed later than `timeMs`. */
  covers(path: Path, timeMs: number): boolean {
    return (
      this.#newestMs > timeMs && this.#list.some((removal) => removal.timeMs > timeMs && isWithin(path, removal.path))
    );
  }

  /** True where a part of what is at the path was removed later than `timeMs`. */
  coversPartOf(path: Path, timeMs: number): boolean {
    return (
      this.#newestMs > timeMs && this.#list.some((removal) => removal.timeMs > timeMs && isWithin(removal.path, path))
    );
  }

  /** @returns false where it is known already, or too old to be kept */
  add(path: Path, timeMs: number): boolean {
    if (this.#list.some((removal) => removal.timeMs >= timeMs && isWithin(path, removal.path))) return false;
    const added: Removal = { path, timeMs };
    const list = [...this.#without(path, timeMs), added].sort((a, b) => a.timeMs - b.timeMs);
    let characters = list.reduce((sum, removal) => sum + lengthOf(removal.path), 0);
    let from = 0;
    while (list.length - from > MAX_REMOVALS || characters > MAX_REMOVAL_CHARACTERS) {
      characters -= lengthOf(list[from++]!.path);
    }
    this.#list = list.slice(from);
    this.#measure();
    return list.indexOf(added) >= from;
  }

  /** Forgets removals of the path and of parts of it, up to a time: something newer is there now. */
  forget(path: Path, timeMs: number): void {
    this.#list = this.#without(path, timeMs);
    this.#measure();
  }

  clone(): Removals {
    return new Removals(this.#list);
  }

  #without(path: Path, timeMs: number): Removal[] {
    return this.#list.filter((removal) => removal.timeMs > timeMs || !isWithin(removal.path, path));
  }

  #measure(): void {
    this.#newestMs = -Infinity;
    for (const { timeMs } of this.#list) if (timeMs > this.#newestMs) this.#newestMs = timeMs;
  }
}

/** True where `path` is `whole` or a part of it. */
function isWithin(path: Path, whole: Path): boolean {
  return path.length >= whole.length && whole.every((name, at) => name === path[at]);
}

function lengthOf(path: Path): number {
  let characters = 1;
  for (const name of path) characters += name.length + 1;
  return characters;
}
