/**
 * The bytes of a body while they arrive, and what is answered where they cannot be taken.
 *
 * A body in chunks that turns out too long is read on, and dropped, up to as much again: a client that is still sending
 * when the connection is closed often loses the answer to the reset that follows. One that declares its length is
 * answered before it is read, and uWebSockets drops what comes.
 */
import { BodyBuffer, type BodyBudget } from '../../../shared/body-buffer.js';
import { RequestError } from '../request-error.js';

const RETRY_AFTER_SECONDS = 1;

export function tooLong(limitBytes: number): RequestError {
  return new RequestError(413, `The payload exceeds the maximum size allowed: a body may have ${limitBytes} bytes`);
}

export class Body {
  readonly #buffer: BodyBuffer;
  /** Also of what is dropped. */
  #length = 0;

  constructor(
    private readonly limitBytes: number,
    budget: BodyBudget,
  ) {
    this.#buffer = new BodyBuffer(limitBytes, budget);
  }

  /** What has arrived, where it is not too long; valid until release. @throws RequestError 413 */
  get bytes(): Buffer {
    if (this.#length > this.limitBytes) throw tooLong(this.limitBytes);
    return this.#buffer.bytes;
  }

  /** Copies a piece. @throws RequestError 413, 503 where the rest is not worth reading */
  add(piece: Uint8Array): void {
    this.#length += piece.length;
    if (this.#length > 2 * this.limitBytes) throw tooLong(this.limitBytes);
    if (this.#length > this.limitBytes) this.#buffer.release();
    else if (!this.#buffer.add(piece)) {
      throw new RequestError(503, 'too many bodies are being received at once', RETRY_AFTER_SECONDS);
    }
  }

  /** Gives the bytes back to the budget; may be called again. */
  release(): void {
    this.#buffer.release();
  }
}
