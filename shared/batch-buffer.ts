/** Batches in memory, in order, and how many bytes they are. */
export class BatchBuffer {
  #batches: Buffer[] = [];
  #bytes = 0;

  get length(): number {
    return this.#batches.length;
  }

  get bytes(): number {
    return this.#bytes;
  }

  push(batch: Buffer): void {
    this.#batches.push(batch);
    this.#bytes += batch.length;
  }

  /** Takes out the first ones, until they make up `maxBytes` (the last may go over it). */
  take(maxBytes: number): Buffer[] {
    let count = 0;
    let bytes = 0;
    while (count < this.#batches.length && bytes < maxBytes) bytes += this.#batches[count++]!.length;
    this.#bytes -= bytes;
    return this.#batches.splice(0, count);
  }

  clear(): void {
    this.#batches = [];
    this.#bytes = 0;
  }

  [Symbol.iterator](): Iterator<Buffer> {
    return this.#batches.values();
  }
}
