/** What may be asked of a command: the bounds of its parts, so that one request cannot fill a device, a link or the store. */
import type { CommandRequest } from './api.js';
import { RequestError } from './request-error.js';

/** The largest data of a command, as JSON. */
export const MAX_COMMAND_BYTES = 8 * 1024;
/** All commands of one request together. */
export const MAX_REQUEST_BYTES = 64 * 1024 * 1024;
const MAX_NAME_CHARACTERS = 128;
/** As deep as devices may nest what they say. */
const MAX_DEPTH = 16;
const MAX_TTL_MS = 366 * 86_400_000;

/**
 * @returns the bytes of the data as JSON
 * @throws RequestError 400, 413
 */
export function checkRequest({ name, data, ttlMs }: CommandRequest): number {
  if (name.length === 0 || name.length > MAX_NAME_CHARACTERS) {
    throw new RequestError(400, `"name" has ${name.length} characters; 1 to ${MAX_NAME_CHARACTERS} are allowed`);
  }
  if (!Number.isInteger(ttlMs) || ttlMs < 1 || ttlMs > MAX_TTL_MS) {
    throw new RequestError(400, `The command would live for ${ttlMs} ms; 1 to ${MAX_TTL_MS} are allowed`);
  }
  if (isDeeper(data, MAX_DEPTH)) throw new RequestError(400, `"data" is nested more than ${MAX_DEPTH} levels deep`);
  // undefined is no JSON: a command without data has null.
  const text = data === undefined ? undefined : JSON.stringify(data);
  if (text === undefined) throw new RequestError(400, '"data" is no JSON value');
  const bytes = Buffer.byteLength(text);
  if (bytes <= MAX_COMMAND_BYTES) return bytes;
  throw new RequestError(413, `"data" has ${bytes} bytes as JSON; ${MAX_COMMAND_BYTES} are allowed`);
}

function isDeeper(value: unknown, levels: number): boolean {
  if (typeof value !== 'object' || value === null) return false;
  return levels === 0 || Object.values(value).some((inner) => isDeeper(inner, levels - 1));
}
