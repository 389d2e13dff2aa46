/**
 * Writes stored values: little-endian numbers and texts, one value after the other into slabs of memory, so that a value
 * costs neither an allocation nor a copy. Values share their slab's memory, which goes when the last of them is let go of, or
 * is written again after reuse(): memory outside of V8's heap that is new with each write of a large group has V8 mark its
 * whole heap each time, which took as long as the write itself (100,000 things).
 *
 * A text is a u32 `2 × characters + wide` and its characters: a byte each where all are below U+0100, else two (UTF-16, so
 * that half a surrogate pair survives as well).
 */
const SLAB_BYTES = 256 * 1024;
/** Slabs that are kept for reuse: 32 MiB. */
const KEPT_SLABS = 128;
/** Up to so many characters a loop beats the call of a native write. */
const LOOP_AT_MOST = 48;

export class ValueWriter {
  #slab!: Buffer;
  #view!: DataView;
  /** Those that values were written into, and those of them that are free again. */
  readonly #used: Buffer[] = [];
  readonly #free: Buffer[] = [];
  #start = 0;
  #at = 0;

  /** @param isReused whether reuse() will be called: until then slabs are kept */
  constructor(private readonly isReused = false) {
    this.#take(SLAB_BYTES);
  }

  /** Lets what comes be written over all values that there are: nobody may need them any more. */
  reuse(): void {
    for (const slab of this.#used.splice(0)) {
      if (slab.length === SLAB_BYTES && this.#free.length < KEPT_SLABS) this.#free.push(slab);
    }
    this.#take(SLAB_BYTES);
  }

  u8(value: number): void {
    this.#reserve(1);
    this.#slab[this.#at++] = value;
  }

  u32(value: number): void {
    this.#reserve(4);
    this.#view.setUint32(this.#at, value, true);
    this.#at += 4;
  }

  i32(value: number): void {
    this.#reserve(4);
    this.#view.setInt32(this.#at, value, true);
    this.#at += 4;
  }

  f64(value: number): void {
    this.#reserve(8);
    this.#view.setFloat64(this.#at, value, true);
    this.#at += 8;
  }

  text(value: string): void {
    const { length } = value;
    this.#reserve(4 + 2 * length);
    const slab = this.#slab;
    let at = this.#at + 4;
    let seen = 0;
    for (let i = 0; i < length; i++) seen |= value.charCodeAt(i);
    const isWide = seen > 0xff;
    this.#view.setUint32(this.#at, 2 * length + (isWide ? 1 : 0), true);
    if (isWide) at += slab.write(value, at, 'utf16le');
    else if (length > LOOP_AT_MOST) at += slab.write(value, at, 'latin1');
    else for (let i = 0; i < length; i++) slab[at++] = value.charCodeAt(i);
    this.#at = at;
  }

  /** A text that is known to have no character above U+00FF. */
  latin1(value: string): void {
    const { length } = value;
    this.#reserve(4 + length);
    this.#view.setUint32(this.#at, 2 * length, true);
    this.#slab.write(value, this.#at + 4, length, 'latin1');
    this.#at += 4 + length;
  }

  /** Ends the value; the next write begins another. */
  finish(): Buffer {
    const value = this.#slab.subarray(this.#start, this.#at);
    this.#start = this.#at;
    return value;
  }

  /** Drops a value that was not ended. */
  reset(): void {
    this.#at = this.#start;
  }

  #reserve(bytes: number): void {
    if (this.#at + bytes <= this.#slab.length) return;
    const begun = this.#slab.subarray(this.#start, this.#at);
    this.#take(Math.max(SLAB_BYTES, 2 * (begun.length + bytes)));
    this.#slab.set(begun);
    this.#at = begun.length;
  }

  #take(bytes: number): void {
    const slab = (bytes === SLAB_BYTES ? this.#free.pop() : undefined) ?? Buffer.allocUnsafeSlow(bytes);
    if (this.isReused) this.#used.push(slab);
    this.#slab = slab;
    this.#view = new DataView(slab.buffer, slab.byteOffset, slab.length);
    this.#start = 0;
    this.#at = 0;
  }
}
