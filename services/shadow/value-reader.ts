/** Reads what ValueWriter writes; every length is checked before it is used. */
import { HoldfastError } from '../../shared/errors.js';

export class ValueReader {
  readonly #bytes: Buffer;
  readonly #what: string;
  #at = 0;

  /** @param what the value, for errors */
  constructor(bytes: Buffer, what: string) {
    this.#bytes = bytes;
    this.#what = what;
  }

  u8(): number {
    return this.#bytes[this.#advance(1)]!;
  }

  u32(): number {
    return this.#bytes.readUInt32LE(this.#advance(4));
  }

  i32(): number {
    return this.#bytes.readInt32LE(this.#advance(4));
  }

  /** A number that is not NaN. */
  f64(): number {
    const value = this.#bytes.readDoubleLE(this.#advance(8));
    if (Number.isNaN(value)) throw this.damaged('holds what is no number');
    return value;
  }

  text(): string {
    const header = this.u32();
    const isWide = (header & 1) === 1;
    const bytes = isWide ? header - 1 : header / 2;
    const at = this.#advance(bytes);
    return this.#bytes.toString(isWide ? 'utf16le' : 'latin1', at, at + bytes);
  }

  /** A text that is JSON. */
  json(): unknown {
    const text = this.text();
    try {
      return JSON.parse(text);
    } catch (error) {
      throw this.damaged('holds what is no JSON', error);
    }
  }

  /** @throws HoldfastError where something follows */
  end(): void {
    if (this.#at !== this.#bytes.length) throw this.damaged(`goes on after byte ${this.#at}`);
  }

  damaged(problem: string, cause?: unknown): HoldfastError {
    return new HoldfastError(
      'store',
      `The stored value of ${this.#what} ${problem}: it is not what shadow has written. Restore the store from a copy, or delete this value`,
      false,
      cause,
    );
  }

  #advance(bytes: number): number {
    const at = this.#at;
    if (at + bytes > this.#bytes.length) throw this.damaged(`ends after ${this.#bytes.length} bytes`);
    this.#at = at + bytes;
    return at;
  }
}
