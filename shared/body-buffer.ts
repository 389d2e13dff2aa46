/**
 * The bytes of an HTTP body while they arrive: one buffer that grows, whatever the size of the pieces, so that a body in single
 * bytes costs no more than its length. All buffers of an endpoint draw on one budget, so that many clients which send long
 * bodies at once cannot fill the memory.
 */
const FIRST_BYTES = 4 * 1024;

/** Bytes that may lie in buffers, over all requests. */
export class BodyBudget {
  #used = 0;

  constructor(readonly limitBytes: number) {}

  get used(): number {
    return this.#used;
  }

  /** @returns false where it does not have them */
  take(bytes: number): boolean {
    if (this.#used + bytes > this.limitBytes) return false;
    this.#used += bytes;
    return true;
  }

  give(bytes: number): void {
    this.#used -= bytes;
  }
}

export class BodyBuffer {
  #buffer = Buffer.alloc(0);
  #length = 0;

  /** @param limitBytes which the whole body does not exceed: the caller sees to that */
  constructor(
    private readonly limitBytes: number,
    private readonly budget: BodyBudget,
  ) {}

  /** What has arrived; valid until release. */
  get bytes(): Buffer {
    return this.#buffer.subarray(0, this.#length);
  }

  /** Copies a piece. @returns false where the budget does not have the bytes */
  add(piece: Uint8Array): boolean {
    const start = this.#length;
    if (start + piece.length > this.#buffer.length && !this.#grow(start + piece.length)) return false;
    this.#buffer.set(piece, start);
    this.#length += piece.length;
    return true;
  }

  /** Gives the bytes back to the budget; may be called again. */
  release(): void {
    this.budget.give(this.#buffer.length);
    this.#buffer = Buffer.alloc(0);
    this.#length = 0;
  }

  #grow(neededBytes: number): boolean {
    const bytes = Math.min(this.limitBytes, Math.max(FIRST_BYTES, neededBytes, 2 * this.#buffer.length));
    if (!this.budget.take(bytes)) return false;
    const grown = Buffer.allocUnsafeSlow(bytes);
    this.#buffer.copy(grown, 0, 0, this.#length);
    this.budget.give(this.#buffer.length);
    this.#buffer = grown;
    return true;
  }
}
