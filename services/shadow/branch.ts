/**
 * An object within a section: names, and beside each its value and the time it was said. A value is a leaf (a text, a
 * number, a boolean, a whole array) or another branch.
 *
 * A branch has a time of its own: the newest at which it was said that there is an object here, be it empty. It is never
 * older than anything inside, so that one comparison tells whether a removal takes all of it.
 *
 * Numbers lie beside their times in one array of doubles, two a field; other values in an array of their own, which only
 * branches that have some hold. So most of a report is written in place: a number in an array of mixed values would be a
 * new object each time, and the garbage collector would copy it once for every thing.
 */
import { isJsonObject, type Json, type JsonObject } from './json.js';
import { NO_NAMES, namesOf, type Names } from './names.js';
import { emptyObject, jsonBytes } from './patch.js';

export type Leaf = boolean | number | string | readonly Json[];
export type Value = Leaf | Branch;

/** The time beside a branch, which has its own: nothing compares with it. */
const NO_TIME = NaN;
/** The number beside a value that is none; numbers of JSON are finite. */
const NO_NUMBER = NaN;
/** Shared by empty branches: fields are never added to an array that is there. */
const NO_SLOTS: number[] = [];

export interface Field {
  readonly name: string;
  readonly value: Value;
  /** When a leaf was said; of no meaning for a branch. */
  readonly timeMs: number;
}

export class Branch {
  names: Names = NO_NAMES;
  /** For each field its time, then its number, or NaN. To be read; written here and by Merge. */
  slots = NO_SLOTS;
  #others: (Value | undefined)[] | undefined;

  constructor(public timeMs: number) {}

  /** As it was stored. @param timeOf the time of the leaf at a place */
  static restore(timeMs: number, names: Names, values: readonly Value[], timeOf: (at: number) => number): Branch {
    const branch = new Branch(timeMs);
    branch.names = names;
    if (values.length > 0) branch.slots = new Array<number>(2 * values.length).fill(NO_NUMBER);
    for (const [at, value] of values.entries()) {
      branch.put(at, value, value instanceof Branch ? NO_TIME : timeOf(at));
    }
    return branch;
  }

  get length(): number {
    return this.names.list.length;
  }

  get isEmpty(): boolean {
    return this.length === 0;
  }

  /** The newest time of its fields; -Infinity where there are none. */
  get newestMs(): number {
    let newest = -Infinity;
    for (let at = 0; at < this.length; at++) newest = Math.max(newest, this.timeAt(at));
    return newest;
  }

  valueAt(at: number): Value {
    const number = this.slots[2 * at + 1]!;
    return number > -Infinity ? number : this.#others![at]!;
  }

  /** When the field at a place was said; of a branch the newest. */
  timeAt(at: number): number {
    const timeMs = this.slots[2 * at]!;
    return timeMs >= -Infinity ? timeMs : (this.valueAt(at) as Branch).timeMs;
  }

  get(name: string): Value | undefined {
    const at = this.names.find(name);
    return at < 0 ? undefined : this.valueAt(at);
  }

  /** Sets the field at a place. */
  put(at: number, value: Value, timeMs: number): void {
    const { slots } = this;
    slots[2 * at] = value instanceof Branch ? NO_TIME : timeMs;
    if (typeof value === 'number') {
      slots[2 * at + 1] = value;
      if (this.#others !== undefined) this.#others[at] = undefined;
      return;
    }
    slots[2 * at + 1] = NO_NUMBER;
    this.#others ??= new Array<Value | undefined>(this.length).fill(undefined);
    // Texts mostly say what they said before: the old one is in old memory already.
    if (this.#others[at] !== value) this.#others[at] = value;
  }

  /** True where all that is in it, and anything is, are numbers that are not newer. */
  isNumbersUntil(timeMs: number): boolean {
    const { slots } = this;
    // Only ever made for values that are none.
    if (this.#others !== undefined || slots.length === 0) return false;
    for (let at = 0; at < slots.length; at += 2) if (!(slots[at]! <= timeMs)) return false;
    return true;
  }

  /** Sets all fields, where isNumbersUntil() is true. @param from where in the doubles their numbers are, in order */
  setNumbers(doubles: Float64Array, from: number, timeMs: number): void {
    const { slots } = this;
    for (let at = 0; at < slots.length; at += 2) {
      slots[at] = timeMs;
      slots[at + 1] = doubles[from + at / 2]!;
    }
  }

  /** Takes fields away, and adds some that are not there. */
  change(gone: ReadonlySet<number>, added: readonly Field[]): void {
    const fields: Field[] = [];
    for (const [at, name] of this.names.list.entries()) {
      if (!gone.has(at)) fields.push({ name, value: this.valueAt(at), timeMs: this.slots[2 * at]! });
    }
    fields.push(...added);
    this.names = namesOf(fields.map(({ name }) => name));
    this.#others = undefined;
    // Made at its length: an array that grows leaves room for sixteen more.
    this.slots = fields.length === 0 ? NO_SLOTS : new Array<number>(2 * fields.length).fill(NO_NUMBER);
    for (const [at, { value, timeMs }] of fields.entries()) this.put(at, value, timeMs);
  }

  /** Removes what is not newer, at every depth. @returns true where anything was */
  removeUntil(timeMs: number): boolean {
    const gone = new Set<number>();
    let changed = false;
    for (let at = 0; at < this.length; at++) {
      const value = this.valueAt(at);
      if (this.timeAt(at) <= timeMs) gone.add(at);
      else if (value instanceof Branch) changed = value.removeUntil(timeMs) || changed;
    }
    if (gone.size > 0) this.change(gone, []);
    return changed || gone.size > 0;
  }

  clone(): Branch {
    const clone = new Branch(this.timeMs);
    clone.names = this.names;
    clone.slots = this.slots.slice();
    clone.#others = this.#others?.map((value) => (value instanceof Branch ? value.clone() : value));
    return clone;
  }

  toJson(): JsonObject {
    const object = emptyObject();
    for (const [at, name] of this.names.list.entries()) object[name] = valueToJson(this.valueAt(at));
    return object;
  }

  /** The same object with `{"timestamp": ms}` for every leaf. */
  metadata(): JsonObject {
    const object = emptyObject();
    for (const [at, name] of this.names.list.entries()) {
      const value = this.valueAt(at);
      object[name] = value instanceof Branch ? value.metadata() : { timestamp: this.timeAt(at) };
    }
    return object;
  }

  /** Bytes of its JSON in UTF-8. */
  jsonBytes(): number {
    let bytes = this.names.jsonBytes;
    for (let at = 0; at < this.length; at++) bytes += valueBytes(this.valueAt(at));
    return bytes;
  }

  /**
   * What of this differs from another object, where `this` is desired and the other reported: leaves that are not the same
   * there or not there at all. What only the other has does not count. An empty object asks for nothing, unless something
   * that is no object is in its place.
   * @returns undefined where nothing differs
   */
  differenceFrom(other: Branch | undefined): JsonObject | undefined {
    let difference: Record<string, Json> | undefined;
    for (const [at, name] of this.names.list.entries()) {
      const value = this.valueAt(at);
      const found = other?.get(name);
      const differs =
        value instanceof Branch && (found === undefined || found instanceof Branch)
          ? value.differenceFrom(found)
          : isSameLeaf(value, found)
            ? undefined
            : valueToJson(value);
      if (differs !== undefined) (difference ??= emptyObject())[name] = differs;
    }
    return difference;
  }
}

function valueToJson(value: Value): Json {
  return value instanceof Branch ? value.toJson() : value;
}

function valueBytes(value: Value): number {
  if (typeof value === 'number') return String(value).length;
  if (typeof value === 'string') return jsonBytes(value);
  if (typeof value === 'boolean') return value ? 4 : 5;
  return value instanceof Branch ? value.jsonBytes() : Buffer.byteLength(JSON.stringify(value));
}

function isSameLeaf(value: Value, other: Value | undefined): boolean {
  if (value === other) return true;
  if (other === undefined || value instanceof Branch || other instanceof Branch) return false;
  return isSameJson(value, other);
}

function isSameJson(value: Json, other: Json): boolean {
  if (value === other) return true;
  if (Array.isArray(value)) {
    const elements: readonly Json[] = value;
    if (!Array.isArray(other) || elements.length !== other.length) return false;
    const others: readonly Json[] = other;
    return elements.every((element, at) => isSameJson(element, others[at]!));
  }
  if (!isJsonObject(value) || !isJsonObject(other)) return false;
  const keys = Object.keys(value);
  return (
    keys.length === Object.keys(other).length &&
    keys.every((key) => Object.hasOwn(other, key) && isSameJson(value[key]!, other[key]!))
  );
}
