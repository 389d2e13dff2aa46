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
import { BodyBuffer, type BodyBudget } from '../../../shared/body-buffer.js';
import type { HttpResponse } from '../../../shared/uws.js';
import type { Answer } from './answers.js';

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
    const body = new BodyBuffer(limitBytes, budget);
    this.#onAborted = () => {
      body.release();
      onAborted();
    };
    this.response.onData((piece, isLast) => {
      if (this.#isOver) return;
      const bytes = Buffer.from(piece);
      if (body.bytes.length + bytes.length > limitBytes) {
        body.release();
        onTooMuch('body');
      } else if (isLast && body.bytes.length === 0) {
        this.#isReceiving = false;
        onBody(bytes);
      } else if (!body.add(bytes)) {
        body.release();
        onTooMuch('budget');
      } else if (isLast) {
        this.#isReceiving = false;
        onBody(body.bytes);
        body.release();
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
}
