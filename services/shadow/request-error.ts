/** What is wrong with a request to the shadow service, as the caller is told; `status` is HTTP's. */
export type RequestStatus = 400 | 401 | 403 | 404 | 405 | 409 | 413 | 415 | 429 | 500 | 503;

export class RequestError extends Error {
  override readonly name = 'RequestError';

  /**
   * @param message what is wrong, where, and what is allowed
   * @param retryAfterSeconds when the same request may succeed, for 429 and 503
   */
  constructor(
    readonly status: RequestStatus,
    message: string,
    readonly retryAfterSeconds?: number,
  ) {
    super(message);
  }
}
