/**
 * What devices have reported since the last write, where it says the same fields as the report before (report-template.ts).
 *
 * Reports of the same fields whose times do not go back are together what the last of them is alone, but for the version,
 * which counts them. So of each device the newest numbers and time are kept in a row, and how many reports they stand for;
 * the thing gets them once, when somebody looks at it (thing.ts), and at the latest when it is written.
 *
 *   row     i32 bytes of the id | i32 template | i32 count, 0: closed | i32 – | f64 time | id, to 8 bytes | f64 each number
 *   index   i32 hash | i32 row in units of 8 bytes, 0: none        open addressing, a power of two of places
 *
 * With 100,000 devices in random order, what a record costs is the memory that it touches and that no cache holds: 0.1 µs
 * each line, measured, as much as reading four numbers. Here it is a line of the index and two of a row, found by the bytes
 * of the id as they lie in the batch. By way of a string, a Map and the objects of a thing it would be a dozen.
 *
 * Rows live as long as a group: when all its things are encoded none is in use, and the memory is used again.
 */
import type { ReportTemplate } from './report-template.js';

/** Where none is; the first unit of the rows is never one. */
export const NO_ROW = 0;

const UNIT_BYTES = 8;
/** Of the processor's caches. */
const UNITS_OF_LINE = 8;
/** In units: 256 KiB at first, 64 MiB at most; reports that find no room are merged at once. */
const FIRST_UNITS = 2 ** 15;
const MAX_UNITS = 2 ** 23;
/** A quarter of the index may be in use, at least that much is. */
const FIRST_PLACES = 2 ** 12;

/** Places in a row: the first three of i32, the others of units. */
const ID_BYTES = 0;
const TEMPLATE = 1;
const COUNT = 2;
const TIME = 2;
const ID = 3;

/** FNV-1a, 32 bits, and the multiplier of a last mixing, because ids of a fleet differ in few bits. */
const HASH_START = 0x811c9dc5 | 0;
const HASH_PRIME = 0x01000193;
const HASH_MIX = 0x85ebca6b | 0;

export class ReportRows {
  #doubles = new Float64Array(FIRST_UNITS);
  #words = new Int32Array(this.#doubles.buffer);
  #bytes = new Uint8Array(this.#doubles.buffer);
  /** Counts clear(): a thing has one row between two of them, so that rows and index are bounded by what changes. */
  generation = 1;
  #end = 1;
  #index = new Int32Array(2 * FIRST_PLACES);
  #opened = 0;
  readonly #templates: ReportTemplate[] = [];
  readonly #templateNumbers = new Map<ReportTemplate, number>();
  /** A report is read here first, because one that cannot be read to its end must change nothing. */
  #read = new Float64Array(64);

  /**
   * The open row of the device whose id lies in a batch, or NO_ROW.
   * @param hash of the id, by hashOf()
   */
  find(batch: Buffer, idStart: number, idEnd: number, hash: number): number {
    const index = this.#index;
    for (let place = hash << 1; ; place += 2) {
      place &= index.length - 1;
      const row = index[place + 1]!;
      if (row === NO_ROW) return NO_ROW;
      if (index[place] === hash && this.#isOf(row, batch, idStart, idEnd)) return this.isOpen(row) ? row : NO_ROW;
    }
  }

  /** Most likely the row of an id with this hash; NO_ROW where there is none for sure. */
  guess(hash: number): number {
    const index = this.#index;
    const mask = index.length - 1;
    let place = (hash << 1) & mask;
    while (index[place] !== hash && index[place + 1] !== NO_ROW) place = (place + 2) & mask;
    return index[place + 1]!;
  }

  /** Reads where the index holds a hash: for row-finder.ts. */
  readIndex(hash: number): number {
    return this.#index[(hash << 1) & (this.#index.length - 1)]!;
  }

  /** Reads two lines of a row: for row-finder.ts. */
  readRow(row: number): number {
    return this.#words[2 * row]! ^ this.#words[2 * (row + UNITS_OF_LINE)]!;
  }

  /**
   * Takes a report into a row.
   * @returns false, with nothing changed, where it says something else or is older than what is there, or the row is closed
   */
  put(row: number, batch: Buffer, start: number, end: number, timeMs: number): boolean {
    const template = this.template(row);
    if (!this.isOpen(row) || !(timeMs >= this.timeMs(row)) || !template.read(batch, start, end, this.#read))
      return false;
    this.#take(row, template, timeMs);
    return true;
  }

  /**
   * Opens a row with a report of a device that has had none since the last clear().
   * @returns NO_ROW, with nothing changed, where it says something else than the template or finds no room
   */
  open(template: ReportTemplate, batch: Buffer, idStart: number, idEnd: number, end: number, timeMs: number): number {
    if (template.count > this.#read.length) this.#read = new Float64Array(template.count);
    if (!template.read(batch, idEnd, end, this.#read)) return NO_ROW;
    const row = this.#allot(ID + unitsOf(idEnd - idStart) + template.count);
    if (row === NO_ROW) return NO_ROW;
    this.#words[2 * row + ID_BYTES] = idEnd - idStart;
    this.#words[2 * row + TEMPLATE] = this.#numberOf(template);
    this.#words[2 * row + COUNT] = 0;
    for (let at = UNIT_BYTES * (row + ID), from = idStart; from < idEnd; from++) this.#bytes[at++] = batch[from]!;
    this.#take(row, template, timeMs);
    this.#list(row, hashOf(batch, idStart, idEnd));
    return row;
  }

  /** False once its thing has taken what it holds. */
  isOpen(row: number): boolean {
    return this.#words[2 * row + COUNT]! > 0;
  }

  /** Takes no more reports into a row. */
  close(row: number): void {
    this.#words[2 * row + COUNT] = 0;
  }

  /** How many reports a row stands for. */
  count(row: number): number {
    return this.#words[2 * row + COUNT]!;
  }

  /** When the newest of them was said. */
  timeMs(row: number): number {
    return this.#doubles[row + TIME]!;
  }

  template(row: number): ReportTemplate {
    return this.#templates[this.#words[2 * row + TEMPLATE]!]!;
  }

  /** Where in `doubles` the numbers of the newest are, in the order of the names. */
  numbersStart(row: number): number {
    return row + ID + unitsOf(this.#words[2 * row + ID_BYTES]!);
  }

  /** The memory of the rows, until the next one is opened. */
  get doubles(): Float64Array {
    return this.#doubles;
  }

  /** Forgets all rows; none may be open. */
  clear(): void {
    this.generation++;
    this.#end = 1;
    this.#opened = 0;
    this.#index.fill(NO_ROW);
    this.#templates.length = 0;
    this.#templateNumbers.clear();
  }

  #take(row: number, { count }: ReportTemplate, timeMs: number): void {
    const doubles = this.#doubles;
    const read = this.#read;
    const start = this.numbersStart(row);
    this.#words[2 * row + COUNT]!++;
    doubles[row + TIME] = timeMs;
    for (let at = 0; at < count; at++) doubles[start + at] = read[at]!;
  }

  #isOf(row: number, batch: Buffer, idStart: number, idEnd: number): boolean {
    if (this.#words[2 * row + ID_BYTES] !== idEnd - idStart) return false;
    const bytes = this.#bytes;
    for (let at = UNIT_BYTES * (row + ID), from = idStart; from < idEnd; from++) {
      if (bytes[at++] !== batch[from]) return false;
    }
    return true;
  }

  #allot(units: number): number {
    const row = this.#end;
    // A line is left after the last row, so that readRow() stays within.
    if (row + units + UNITS_OF_LINE > this.#doubles.length) {
      if (2 * this.#doubles.length > MAX_UNITS || units > this.#doubles.length) return NO_ROW;
      const doubles = new Float64Array(2 * this.#doubles.length);
      doubles.set(this.#doubles);
      this.#doubles = doubles;
      this.#words = new Int32Array(doubles.buffer);
      this.#bytes = new Uint8Array(doubles.buffer);
    }
    this.#end = row + units;
    return row;
  }

  #numberOf(template: ReportTemplate): number {
    const known = this.#templateNumbers.get(template);
    if (known !== undefined) return known;
    const number = this.#templates.push(template) - 1;
    this.#templateNumbers.set(template, number);
    return number;
  }

  #list(row: number, hash: number): void {
    if (8 * ++this.#opened > this.#index.length) {
      const index = this.#index;
      this.#index = new Int32Array(2 * index.length);
      for (let at = 0; at < index.length; at += 2)
        if (index[at + 1] !== NO_ROW) this.#place(index[at + 1]!, index[at]!);
    }
    this.#place(row, hash);
  }

  #place(row: number, hash: number): void {
    const index = this.#index;
    let place = (hash << 1) & (index.length - 1);
    while (index[place + 1] !== NO_ROW) place = (place + 2) & (index.length - 1);
    index[place] = hash;
    index[place + 1] = row;
  }
}

/** The hash of a device's id. */
export function hashOf(bytes: Buffer, start: number, end: number): number {
  let hash = HASH_START;
  for (let at = start; at < end; at++) hash = Math.imul(hash ^ bytes[at]!, HASH_PRIME);
  hash = Math.imul(hash ^ (hash >>> 15), HASH_MIX);
  return hash ^ (hash >>> 13);
}

function unitsOf(bytes: number): number {
  return (bytes + UNIT_BYTES - 1) >> 3;
}
