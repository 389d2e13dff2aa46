/**
 * The rows of all records of a batch, in steps of many records: first all hashes, then the index, then the rows.
 *
 * What costs time is memory that no cache holds. A processor waits for many such reads at once where none of them decides what
 * comes next; a lookup after the other is a chain of reads and branches. So each step begins with a loop that does
 * nothing but read. With 100,000 devices in random order that takes 0.15 µs a record in place of 0.5 (measured).
 */
import { RecordCursor } from '../../shared/batch.js';
import { hashOf, NO_ROW, type ReportRows } from './report-rows.js';

/** Records of a step: their rows fit into the nearest cache. */
const STEP = 64;

export class RowFinder {
  readonly #starts = new Int32Array(STEP);
  readonly #ends = new Int32Array(STEP);
  readonly #hashes = new Int32Array(STEP);
  #found = new Int32Array(STEP);
  /** Of what was only read to have it read; kept, or else the compiler would leave it out. */
  read = 0;

  constructor(private readonly rows: ReportRows) {}

  /** @returns for each record, whatever its kind, the open row of its device, or NO_ROW; of use until the next call */
  find(batch: Buffer): Int32Array {
    const cursor = new RecordCursor(batch);
    for (let from = 0; ; from += STEP) {
      const count = this.#next(batch, cursor);
      this.#makeRoom(from + count);
      this.#look(batch, count, from);
      if (count < STEP) return this.#found;
    }
  }

  #next(batch: Buffer, cursor: RecordCursor): number {
    let count = 0;
    while (count < STEP && cursor.next()) {
      const { deviceIdStart, payloadStart } = cursor;
      this.#starts[count] = deviceIdStart;
      this.#ends[count] = payloadStart;
      this.#hashes[count++] = hashOf(batch, deviceIdStart, payloadStart);
    }
    return count;
  }

  #look(batch: Buffer, count: number, from: number): void {
    const { rows } = this;
    const found = this.#found;
    const hashes = this.#hashes;
    let read = 0;
    for (let at = 0; at < count; at++) read ^= rows.readIndex(hashes[at]!);
    for (let at = 0; at < count; at++) found[from + at] = rows.guess(hashes[at]!);
    for (let at = 0; at < count; at++) read ^= rows.readRow(found[from + at]!);
    this.read = read;
    for (let at = 0; at < count; at++) {
      if (found[from + at] !== NO_ROW)
        found[from + at] = rows.find(batch, this.#starts[at]!, this.#ends[at]!, hashes[at]!);
    }
  }

  #makeRoom(records: number): void {
    if (records <= this.#found.length) return;
    const found = new Int32Array(2 * records);
    found.set(this.#found);
    this.#found = found;
  }
}
