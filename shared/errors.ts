/**
 * Errors that leave a module: each has a code to branch on, a message that says what, where and what to do,
 * the cause where there is one, and whether trying the same thing again can help.
 */
export type ErrorCode =
  | 'bad_config'
  | 'bad_batch'
  | 'bad_frame'
  | 'bad_record'
  | 'queue_full'
  | 'disk_low'
  | 'queue_unreadable'
  | 'queue_locked'
  | 'queue_closed'
  | 'commit_failed'
  | 'link_refused'
  | 'link_closed'
  | 'listen_failed'
  | 'not_registered'
  | 'fenced'
  | 'store'
  | 'database'
  | 'device_closed'
  | 'device_refused'
  | 'buffer_full'
  | 'shadow_away'
  | 'handler_failed'
  | 'start_failed'
  | 'stop_timeout'
  | 'unhealthy';

export class HoldfastError extends Error {
  override readonly name = 'HoldfastError';

  /**
   * @param code what went wrong, to branch on
   * @param message what, where, and what to do about it
   * @param retry true where the same call can succeed later without a change
   */
  constructor(
    readonly code: ErrorCode,
    message: string,
    readonly retry: boolean,
    cause?: unknown,
  ) {
    super(message, cause === undefined ? undefined : { cause });
  }
}

/** The message of anything that was thrown. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** The error itself, or an Error that wraps whatever else was thrown. */
export function asError(error: unknown): Error {
  return error instanceof Error ? error : new Error(String(error));
}
