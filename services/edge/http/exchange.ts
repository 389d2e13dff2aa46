/**
 * One request with a body and its answer on uWebSockets.js, which has rules of its own:
 *
 * - The bytes of a body are valid inside their callback alone, and a response until it is over. A handler that returns
 *   without an answer and without onAborted ends the process: the constructor comes first in a handler.
 * - What is refused from the head is refused before the body is asked for: uWebSockets reads and drops it then, and the
 *   client reads its answer instead of a reset. Once the body is asked for, an answer before its end has to close.
 * - An answer that the socket does not take at once stays here, and the response under way, so that a client that sends
 *   requests and reads no answers cannot fill the memory: its next request cuts the connection.
 * - A body that comes slower than 16 KB/s is cut after 10 s, and so is an answer that nobody reads.
 *
 * A body in one piece, which is nearly every one, is handed on where it lies. One in many pieces is copied into a buffer that
 * grows with it, and all such buffers draw on one budget.
 */
import type { HttpResponse } from '../../../shared/uws.js';
import type { Answer } from './answers.js';

const FIRST_BYTES = 4 * 1024;

/** Bytes of bodies that are not complete yet, over all requests. */
export class BodyBudget {
  #used = 0;

  constructor(readonly limitBytes: number) {}

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

/** What becomes of a request. */
export interface Outcome {
  /** The whole body, valid during the call. */
  readonly onBody: (body: Buffer) => void;
  /** It is too long for the limit, or for the budget. */
  readonly onTooMuch: (what: 'body' | 'budget') => void;
  /** The client went away before it was answered, whether or not the body has come. */
  readonly onAborted: () => void;
}

export class Exchange {
  #isOver = false;
  /** True from where the body is asked for to its last byte. */
  #isReceiving = false;
  #buffer = Buffer.alloc(0);
  #length = 0;
  #onAborted: (() => void) | undefined;

  /** To be called in the request's handler. */
  constructor(
    private readonly response: HttpResponse,
    private readonly onAnswered: (status: string) => void,
  ) {
    response.onAborted(() => {
      if (this.#isOver) return;
      this.#isOver = true;
      this.#onAborted?.();
    });
  }

  /** Receives the body. To be called in the request's handler. */
  receive(limitBytes: number, budget: BodyBudget, { onBody, onTooMuch, onAborted }: Outcome): void {
    this.#isReceiving = true;
    this.#onAborted = () => {
      this.#release(budget);
      onAborted();
    };
    this.response.onData((piece, isLast) => {
      if (this.#isOver) return;
      const bytes = Buffer.from(piece);
      if (this.#length + bytes.length > limitBytes) {
        this.#release(budget);
        onTooMuch('body');
      } else if (isLast && this.#length === 0) {
        this.#isReceiving = false;
        onBody(bytes);
      } else if (!this.#add(bytes, limitBytes, budget)) {
        this.#release(budget);
        onTooMuch('budget');
      } else if (isLast) {
        this.#isReceiving = false;
        onBody(this.#buffer.subarray(0, this.#length));
        this.#release(budget);
      }
    });
  }

  /** Answers, where there is still somebody to answer. */
  answer({ status, headers, body }: Answer): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.onAnswered(status);
    const { response } = this;
    response.cork(() => {
      response.writeStatus(status);
      for (const [name, value] of headers) response.writeHeader(name, value);
      if (this.#isReceiving) response.end(body, true);
      else this.#send(Buffer.from(body));
    });
  }

  #send(body: Buffer): void {
    const { response } = this;
    const [, isSent] = response.tryEnd(body, body.length);
    if (isSent) return;
    response.onWritable((offset) => response.tryEnd(body.subarray(offset), body.length)[0]);
  }

  /** @returns false where the budget does not have the bytes */
  #add(piece: Buffer, limitBytes: number, budget: BodyBudget): boolean {
    const start = this.#length;
    const needed = start + piece.length;
    if (needed > this.#buffer.length) {
      const bytes = Math.min(limitBytes, Math.max(FIRST_BYTES, needed, 2 * this.#buffer.length));
      if (!budget.take(bytes)) return false;
      const grown = Buffer.allocUnsafeSlow(bytes);
      this.#buffer.copy(grown, 0, 0, start);
      budget.give(this.#buffer.length);
      this.#buffer = grown;
    }
    this.#buffer.set(piece, start);
    this.#length = needed;
    return true;
  }

  #release(budget: BodyBudget): void {
    budget.give(this.#buffer.length);
    this.#buffer = Buffer.alloc(0);
  }
}
