/**
 * A section as stored: its removals, then its fields.
 *
 *   section    u8 removals   each: text JSON of the path | f64 time         then the root branch
 *   branch     text JSON of the names | f64 its own time | times | values
 *   times      u8 1, f64: all leaves have this one   or   u8 0, f64 for each leaf        (nothing where there are no leaves)
 *   value      u8 tag   0 false   1 true   2 i32   3 f64   4 text   5 text, JSON of an array   6 branch
 *
 * The values come before their times, so that a reader knows which are leaves. Most reports say all fields at once: then
 * one time stands for all.
 */
import { Branch, type Value } from './branch.js';
import { namesFromText } from './names.js';
import { MAX_REMOVALS, Removals, type Removal } from './removals.js';
import { Section } from './section.js';
import type { ValueReader } from './value-reader.js';
import type { ValueWriter } from './value-writer.js';

const Tag = { false: 0, true: 1, i32: 2, f64: 3, text: 4, array: 5, branch: 6 } as const;
const ONE_TIME = 1;
/** Deeper than any configuration allows; a damaged value must not exhaust the stack. */
const MAX_DEPTH = 128;

export function writeSection(writer: ValueWriter, { root, removals }: Section): void {
  const list = removals?.list ?? [];
  writer.u8(list.length);
  for (const { path, timeMs } of list) {
    writer.text(JSON.stringify(path));
    writer.f64(timeMs);
  }
  writeBranch(writer, root);
}

/** @throws HoldfastError store */
export function readSection(reader: ValueReader): Section {
  const removals: Removal[] = [];
  const count = reader.u8();
  if (count > MAX_REMOVALS) throw reader.damaged(`holds ${count} removals`);
  for (let i = 0; i < count; i++) {
    const path = reader.json();
    if (!Array.isArray(path) || !path.every((name): name is string => typeof name === 'string')) {
      throw reader.damaged('holds what is no path');
    }
    removals.push({ path, timeMs: reader.f64() });
  }
  return new Section(readBranch(reader, MAX_DEPTH), count === 0 ? undefined : new Removals(removals));
}

function writeBranch(writer: ValueWriter, branch: Branch): void {
  const { names, slots, length } = branch;
  writer.latin1(names.text);
  writer.f64(branch.timeMs);
  for (let at = 0; at < length; at++) {
    const number = slots[2 * at + 1]!;
    if (number > -Infinity) writeNumber(writer, number);
    else writeOther(writer, branch.valueAt(at));
  }
  writeTimes(writer, slots);
}

function writeNumber(writer: ValueWriter, value: number): void {
  // -0 is no i32.
  if ((value | 0) === value && (value !== 0 || 1 / value > 0)) {
    writer.u8(Tag.i32);
    writer.i32(value);
  } else {
    writer.u8(Tag.f64);
    writer.f64(value);
  }
}

function writeOther(writer: ValueWriter, value: Value): void {
  if (typeof value === 'string') {
    writer.u8(Tag.text);
    writer.text(value);
  } else if (typeof value === 'boolean') writer.u8(value ? Tag.true : Tag.false);
  else if (value instanceof Branch) {
    writer.u8(Tag.branch);
    writeBranch(writer, value);
  } else {
    writer.u8(Tag.array);
    writer.text(JSON.stringify(value));
  }
}

/** The times of leaves; those of branches stand with them, and are NaN here. */
function writeTimes(writer: ValueWriter, slots: readonly number[]): void {
  let first = NaN;
  let isOne = true;
  for (let at = 0; at < slots.length; at += 2) {
    const timeMs = slots[at]!;
    if (Number.isNaN(first)) first = timeMs;
    else if (timeMs !== first && !Number.isNaN(timeMs)) isOne = false;
  }
  if (Number.isNaN(first)) return;
  writer.u8(isOne ? ONE_TIME : 0);
  if (isOne) writer.f64(first);
  else for (let at = 0; at < slots.length; at += 2) if (!Number.isNaN(slots[at])) writer.f64(slots[at]!);
}

function readBranch(reader: ValueReader, levels: number): Branch {
  if (levels < 1) throw reader.damaged(`is nested deeper than ${MAX_DEPTH} levels`);
  const names = namesFromText(reader.text());
  if (names === undefined) throw reader.damaged('holds what are no names');
  const timeMs = reader.f64();
  const values = names.list.map(() => readValue(reader, levels));
  const hasLeaves = values.some((value) => !(value instanceof Branch));
  const isOne = hasLeaves && reader.u8() === ONE_TIME;
  const one = isOne ? reader.f64() : 0;
  return Branch.restore(timeMs, names, values, () => (isOne ? one : reader.f64()));
}

function readValue(reader: ValueReader, levels: number): Value {
  const tag = reader.u8();
  switch (tag) {
    case Tag.false:
      return false;
    case Tag.true:
      return true;
    case Tag.i32:
      return reader.i32();
    case Tag.f64:
      return reader.f64();
    case Tag.text:
      return reader.text();
    case Tag.branch:
      return readBranch(reader, levels - 1);
    case Tag.array: {
      const value = reader.json();
      if (!Array.isArray(value)) throw reader.damaged('holds what is no array');
      return value as Value;
    }
    default:
      throw reader.damaged(`holds a value of kind ${tag}`);
  }
}
