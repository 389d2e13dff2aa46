/**
 * The bytes of a body while they arrive: one buffer that grows, whatever the size of the pieces, so that a body in single
 * bytes costs no more than its length. All buffers together draw on one budget.
 *
 * A body in chunks that turns out too long is read on, and dropped, up to as much again: a client that is still sending
 * when the connection is closed often loses the answer to the reset that follows. One that declares its length is
 * answered before it is read, and uWebSockets drops what comes.
 */
import { RequestError } from '../request-error.js';

const FIRST_BYTES = 4 * 1024;
const RETRY_AFTER_SECONDS = 1;

/** Bytes that may lie in buffers, over all requests. */
export class BodyBudget {
  #used = 0;

  constructor(private readonly limitBytes: number) {}

  get used(): number {
    return this.#used;
  }

  /** @throws RequestError 503 where the budget does not have them */
  take(bytes: number): void {
    if (this.#used + bytes > this.limitBytes) {
      throw new RequestError(503, 'too many bodies are being received at once', RETRY_AFTER_SECONDS);
    }
    this.#used += bytes;
  }

  give(bytes: number): void {
    this.#used -= bytes;
  }
}

export function tooLong(limitBytes: number): RequestError {
  return new RequestError(413, `The payload exceeds the maximum size allowed: a body may have ${limitBytes} bytes`);
}

export class Body {
  #buffer = Buffer.alloc(0);
  #length = 0;

  constructor(
    private readonly limitBytes: number,
    private readonly budget: BodyBudget,
  ) {}

  /** What has arrived, where it is not too long; valid until release. @throws RequestError 413 */
  get bytes(): Buffer {
    if (this.#length > this.limitBytes) throw tooLong(this.limitBytes);
    return this.#buffer.subarray(0, this.#length);
  }

  /** Copies a piece. @throws RequestError 413, 503 where the rest is not worth reading */
  add(piece: Uint8Array): void {
    const start = this.#length;
    this.#length += piece.length;
    if (this.#length > 2 * this.limitBytes) throw tooLong(this.limitBytes);
    if (this.#length > this.limitBytes) {
      this.release();
      return;
    }
    if (this.#length > this.#buffer.length) this.#grow(start);
    this.#buffer.set(piece, start);
  }

  /** Gives the bytes back to the budget; may be called again. */
  release(): void {
    this.budget.give(this.#buffer.length);
    this.#buffer = Buffer.alloc(0);
  }

  #grow(used: number): void {
    const bytes = Math.min(this.limitBytes, Math.max(FIRST_BYTES, this.#length, 2 * this.#buffer.length));
    this.budget.take(bytes);
    const grown = Buffer.allocUnsafeSlow(bytes);
    this.#buffer.copy(grown, 0, 0, used);
    this.budget.give(this.#buffer.length);
    this.#buffer = grown;
  }
}
