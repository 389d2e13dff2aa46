/**
 * One request and its answer on uWebSockets.js, which has rules of its own:
 *
 * - A request, its headers and the bytes of its body are valid inside their callbacks alone, and a response until it is
 *   over: any call after that throws. A handler that returns without an answer and without onAborted ends the process, so
 *   the constructor comes first in a handler.
 * - Answers go out by tryEnd: what the socket does not take stays here, and the response stays under way until the last
 *   byte is with the kernel. By end(), the rest would lie in the connection's own buffer, and a client that sends
 *   requests and reads no answers would fill the memory. A request that comes while one is under way cuts the connection.
 * - Where no onData is asked for, the body of a request that is answered already is read and dropped, until 10 s after the
 *   answer. So whatever can be refused from the headers is refused before onData: the client reads its answer, instead of
 *   the reset that a close with unread bytes would send it. Once onData is asked for, an early answer has to close.
 * - Bodies that come slower than 16 KB/s are cut after 10 s, and so are answers that nobody reads.
 */
import type { BodyBudget } from '../../../shared/body-buffer.js';
import { asError } from '../../../shared/errors.js';
import type { HttpResponse } from '../../../shared/uws.js';
import type { Answer } from './answers.js';
import { Body } from './body.js';

const STATUS_LINES: Readonly<Record<number, string>> = {
  200: '200 OK',
  202: '202 Accepted',
  204: '204 No Content',
  400: '400 Bad Request',
  401: '401 Unauthorized',
  403: '403 Forbidden',
  404: '404 Not Found',
  405: '405 Method Not Allowed',
  409: '409 Conflict',
  413: '413 Content Too Large',
  415: '415 Unsupported Media Type',
  429: '429 Too Many Requests',
  500: '500 Internal Server Error',
  503: '503 Service Unavailable',
};

export interface ExchangeOptions {
  /** True for HEAD: the answer has the headers of its body, not the body. */
  readonly isHead: boolean;
  /** Called once the answer is with the kernel, or will never be. */
  readonly onOver: (exchange: Exchange) => void;
}

export class Exchange {
  /** What was answered; undefined before that. */
  status: number | undefined;
  /** When the service has to have answered, on the clock of performance.now(); undefined while the client is sending. */
  deadlineMs: number | undefined;
  #body: Body | undefined;
  #bodyEnded: ((bytes: Buffer | undefined) => void) | undefined;
  #isOver = false;

  /** To be called in the request's handler. */
  constructor(
    private readonly response: HttpResponse,
    private readonly options: ExchangeOptions,
  ) {
    response.onAborted(() => this.#end());
  }

  /**
   * The bytes of the body; undefined where the client went away, or where the answer was given meanwhile. To be called in
   * the request's handler. The bytes are valid until releaseBody.
   * @throws RequestError 413, 503
   */
  readBody(limitBytes: number, budget: BodyBudget): Promise<Buffer | undefined> {
    const body = new Body(limitBytes, budget);
    this.#body = body;
    return new Promise((resolve, reject) => {
      this.#bodyEnded = resolve;
      this.response.onData((piece, isLast) => {
        if (this.#isOver || this.status !== undefined) return;
        try {
          body.add(new Uint8Array(piece));
          if (!isLast) return;
          this.#bodyEnded = undefined;
          resolve(body.bytes);
        } catch (error) {
          if (isLast) this.#bodyEnded = undefined;
          reject(asError(error));
        }
      });
    });
  }

  releaseBody(): void {
    this.#body?.release();
  }

  /** Answers, where there is still somebody to answer and that has not happened yet. */
  answer(answer: Answer): void {
    if (this.#isOver || this.status !== undefined) return;
    this.status = answer.status;
    const { response } = this;
    const closes = this.#bodyEnded !== undefined;
    response.cork(() => {
      response.writeStatus(STATUS_LINES[answer.status] ?? String(answer.status));
      for (const [name, value] of answer.headers) response.writeHeader(name, value);
      if (answer.body === undefined || this.options.isHead) {
        // Given as endWithoutBody's own argument, the length leaves the response under way for ever.
        if (answer.body !== undefined) response.writeHeader('Content-Length', String(answer.body.length));
        response.endWithoutBody();
        this.#end();
      } else if (closes) {
        response.end(answer.body, true);
        this.#end();
      } else {
        this.#send(answer.body);
      }
    });
  }

  /** Cuts the connection; not to be called in a callback of the response. */
  cut(): void {
    if (!this.#isOver) this.response.close();
  }

  #send(body: Buffer): void {
    const { response } = this;
    const [, isSent] = response.tryEnd(body, body.length);
    if (isSent) {
      this.#end();
      return;
    }
    response.onWritable((offset) => {
      const [ok, isSentNow] = response.tryEnd(body.subarray(offset), body.length);
      if (isSentNow) this.#end();
      return ok;
    });
  }

  #end(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.releaseBody();
    this.#bodyEnded?.(undefined);
    this.#bodyEnded = undefined;
    this.options.onOver(this);
  }
}
