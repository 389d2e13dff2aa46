/** One file of the file buffer's log: entries, appended at its end, read by offset. */
import {
  closeSync,
  constants,
  fdatasyncSync,
  fstatSync,
  fsyncSync,
  ftruncateSync,
  openSync,
  readSync,
  unlinkSync,
  writeSync,
} from 'node:fs';
import { HoldfastError, messageOf } from '../errors.js';

export class Segment {
  /** The greatest seq of its records; what a segment's successor begins after. */
  lastSeq: number;
  readonly #file: number;
  #bytes: number;

  /** @param lastSeq the last seq before its first record */
  constructor(
    readonly path: string,
    lastSeq: number,
  ) {
    this.lastSeq = lastSeq;
    this.#file = openSync(path, constants.O_RDWR | constants.O_CREAT, 0o600);
    this.#bytes = fstatSync(this.#file).size;
  }

  get bytes(): number {
    return this.#bytes;
  }

  /**
   * Appends an entry, whole or not at all.
   * @param sync true: returns once it is on disk
   * @throws HoldfastError disk_low
   */
  append(entry: Buffer, sync: boolean): void {
    try {
      const written = writeSync(this.#file, entry, 0, entry.length, this.#bytes);
      if (written !== entry.length) throw new Error(`${written} of ${entry.length} bytes were written`);
      if (sync) fdatasyncSync(this.#file);
    } catch (error) {
      this.cut(this.#bytes);
      const message = `cannot append to ${this.path}: ${messageOf(error)}; make room on the disk`;
      throw new HoldfastError('disk_low', message, true, error);
    }
    this.#bytes += entry.length;
  }

  /** Up to `maxBytes` from `offset` on. */
  read(offset: number, maxBytes: number): Buffer {
    const bytes = Buffer.allocUnsafe(Math.max(0, Math.min(maxBytes, this.#bytes - offset)));
    return bytes.subarray(0, readSync(this.#file, bytes, 0, bytes.length, offset));
  }

  /** Forgets what comes after `end`. */
  cut(end: number): void {
    ftruncateSync(this.#file, end);
    this.#bytes = end;
  }

  close(): void {
    closeSync(this.#file);
  }

  delete(): void {
    this.close();
    unlinkSync(this.path);
  }
}

/** A new file survives a power cut once its directory is on disk. */
export function syncDirectory(directory: string): void {
  const file = openSync(directory, 'r');
  try {
    fsyncSync(file);
  } finally {
    closeSync(file);
  }
}
