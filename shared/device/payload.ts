/** What a caller gives to a device, made into what travels: JSON text in UTF-8, and whole ms since 1970. */
import { MAX_PAYLOAD_BYTES } from '../batch.js';
import { HoldfastError, messageOf } from '../errors.js';

/**
 * @param data what JSON can hold, or a Uint8Array that is JSON text already
 * @param checked true: a Uint8Array is checked to be JSON, because it is put into a JSON message among others
 * @throws HoldfastError bad_record
 */
export function encodePayload(data: unknown, checked: boolean): Uint8Array {
  const encoded = data instanceof Uint8Array;
  const payload = encoded ? data : Buffer.from(stringify(data));
  if (encoded && checked) assertJson(payload);
  if (payload.length <= MAX_PAYLOAD_BYTES) return payload;
  throw badRecord(`${payload.length} bytes of data are over the limit of ${MAX_PAYLOAD_BYTES}`);
}

/**
 * @returns the time
 * @throws HoldfastError bad_record
 */
export function checkTime(timeMs: number): number {
  if (Number.isSafeInteger(timeMs) && timeMs > 0) return timeMs;
  throw badRecord(`the time ${timeMs} is no whole number of ms since 1970`);
}

/**
 * @returns the state
 * @throws HoldfastError bad_record where it is neither an object nor null
 */
export function checkState(state: unknown): unknown {
  if (typeof state === 'object' && !Array.isArray(state)) return state;
  throw badRecord(`a report is an object or null, and not ${Array.isArray(state) ? 'an array' : typeof state}`);
}

function assertJson(bytes: Uint8Array): void {
  try {
    JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
  } catch (error) {
    throw badRecord(`the data is not JSON: ${messageOf(error)}`);
  }
}

function stringify(data: unknown): string {
  let text: unknown;
  try {
    text = JSON.stringify(data);
  } catch (error) {
    throw badRecord(`JSON cannot hold the data: ${messageOf(error)}`);
  }
  if (typeof text === 'string') return text;
  throw badRecord(`JSON cannot hold ${typeof data}`);
}

function badRecord(what: string): HoldfastError {
  return new HoldfastError('bad_record', `device: ${what}`, false);
}
