/**
 * An object within a section: names, and beside each its value and the time it was said. A value is a leaf (a text, a
 * number, a boolean, a whole array) or another branch.
 *
 * A branch has a time of its own: the newest at which it was said that there is an object here, be it empty. It is never
 * older than anything inside, so that one comparison tells whether a removal takes all of it.
 *
 * Values and times are plain arrays of exactly the length of the names: about 30 bytes a number with its time.
 */
import { isJsonObject, type Json, type JsonObject } from './json.js';
import { NO_NAMES, namesOf, type Names } from './names.js';
import { emptyObject, jsonBytes } from './patch.js';

export type Leaf = boolean | number | string | readonly Json[];
export type Value = Leaf | Branch;

/** Shared by empty branches: fields are never added to an array that is there. */
const NO_VALUES: Value[] = [];
const NO_TIMES: number[] = [];

/** Beside a branch, which has its own: nothing compares with it. */
export const NO_TIME = NaN;

export class Branch {
  /** @param times of leaves, ms since 1970; NO_TIME beside branches */
  constructor(
    public timeMs: number,
    public names: Names = NO_NAMES,
    public values: Value[] = NO_VALUES,
    public times: number[] = NO_TIMES,
  ) {}

  get isEmpty(): boolean {
    return this.values.length === 0;
  }

  /** The newest time of its fields; -Infinity where there are none. */
  get newestMs(): number {
    return this.values.reduce<number>(
      (newest, value, at) => Math.max(newest, value instanceof Branch ? value.timeMs : this.times[at]!),
      -Infinity,
    );
  }

  get(name: string): Value | undefined {
    const at = this.names.find(name);
    return at < 0 ? undefined : this.values[at];
  }

  /** Adds fields that are not there yet. */
  add(names: readonly string[], values: readonly Value[], times: readonly number[]): void {
    this.names = namesOf([...this.names.list, ...names]);
    // concat gives arrays without room to spare; push would leave room for sixteen more.
    this.values = this.values.concat(values);
    this.times = this.times.concat(times);
  }

  /** Takes the fields at these places away. */
  removeAt(places: ReadonlySet<number>): void {
    const stays = (_: unknown, at: number): boolean => !places.has(at);
    this.names = namesOf(this.names.list.filter(stays));
    this.values = this.values.filter(stays);
    this.times = this.times.filter(stays);
  }

  /** Removes what is not newer, at every depth. @returns true where anything was */
  removeUntil(timeMs: number): boolean {
    const gone = new Set<number>();
    let changed = false;
    for (const [at, value] of this.values.entries()) {
      if ((value instanceof Branch ? value.timeMs : this.times[at]!) <= timeMs) gone.add(at);
      else if (value instanceof Branch) changed = value.removeUntil(timeMs) || changed;
    }
    if (gone.size > 0) this.removeAt(gone);
    return changed || gone.size > 0;
  }

  clone(): Branch {
    const values = this.values.map((value) => (value instanceof Branch ? value.clone() : value));
    return new Branch(this.timeMs, this.names, values, this.times.slice());
  }

  toJson(): JsonObject {
    const object = emptyObject();
    for (const [at, name] of this.names.list.entries()) object[name] = valueToJson(this.values[at]!);
    return object;
  }

  /** The same object with `{"timestamp": ms}` for every leaf. */
  metadata(): JsonObject {
    const object = emptyObject();
    for (const [at, name] of this.names.list.entries()) {
      const value = this.values[at]!;
      object[name] = value instanceof Branch ? value.metadata() : { timestamp: this.times[at]! };
    }
    return object;
  }

  /** Bytes of its JSON in UTF-8. */
  jsonBytes(): number {
    let bytes = this.names.jsonBytes;
    for (const value of this.values) bytes += valueBytes(value);
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
      const value = this.values[at]!;
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
