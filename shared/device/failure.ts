/** What a handler of the device's user has thrown, as an error of ours. */
import { HoldfastError, messageOf } from '../errors.js';

/** @param what what failed, the start of the message */
export function asDeviceError(error: unknown, what: string): HoldfastError {
  if (error instanceof HoldfastError) return error;
  return new HoldfastError('handler_failed', `${what}: ${messageOf(error)}`, false, error);
}
