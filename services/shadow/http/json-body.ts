/**
 * A body as JSON, and its fields.
 *
 * JSON.parse makes an own property of a key `__proto__`, which is harmless until somebody copies it with an assignment; so
 * that nobody has to remember, a body with it is refused. So is a number that JavaScript cannot hold: it would be Infinity,
 * which is written as null, and null removes a field.
 */
import { isUtf8 } from 'node:buffer';
import type { Json, JsonObject } from '../json.js';
import { isJsonObject } from '../json.js';
import { RequestError } from '../request-error.js';
import { describeJsonError, findJsonError } from './json-error.js';
import { LIMITS } from './limits.js';

const BAD_KEY = '__proto__';
const SHOWN_CHARACTERS = 60;

/** @throws RequestError 400 that says what is wrong and where */
export function readJson(bytes: Buffer): Json {
  if (bytes.length === 0) throw new RequestError(400, 'Invalid JSON: the body is empty');
  if (!isUtf8(bytes)) throw new RequestError(400, 'Invalid JSON: the body is not UTF-8');
  const text = bytes.toString('utf8');
  let value: Json;
  try {
    value = JSON.parse(text) as Json;
  } catch {
    const error = findJsonError(text);
    throw new RequestError(400, `Invalid JSON: ${error === undefined ? 'unreadable' : describeJsonError(text, error)}`);
  }
  checkValue(value, []);
  return value;
}

/** @param path the keys and indexes that lead to the value; only looked at where it is refused */
function checkValue(value: Json, path: (string | number)[]): void {
  if (typeof value === 'number' && !Number.isFinite(value)) {
    throw new RequestError(400, `Invalid JSON: the number at ${shown(path)} is too large`);
  }
  if (typeof value !== 'object' || value === null) return;
  if (path.length >= LIMITS.bodyDepth) {
    const message = `JSON contains too many levels of nesting; maximum is ${LIMITS.bodyDepth} (at ${shown(path)})`;
    throw new RequestError(400, message);
  }
  if (Array.isArray(value)) {
    const items = value as readonly Json[];
    for (const [index, item] of items.entries()) checkMember(item, path, index);
    return;
  }
  for (const [key, member] of Object.entries(value as JsonObject)) {
    if (key === BAD_KEY) throw new RequestError(400, `the key ${BAD_KEY} is not allowed (at ${shown(path)})`);
    checkMember(member, path, key);
  }
}

function checkMember(member: Json, path: (string | number)[], key: string | number): void {
  path.push(key);
  checkValue(member, path);
  path.pop();
}

/** The fields of an object that has no others than `allowed`. @throws RequestError 400 that names what is not allowed */
export function readFields<K extends string>(
  value: unknown,
  what: string,
  allowed: readonly K[],
): Readonly<Partial<Record<K, Json>>> {
  if (!isJsonObject(value)) throw new RequestError(400, `${what} must be an object with ${allowed.join(', ')}`);
  const unknown = Object.keys(value).find((key) => !(allowed as readonly string[]).includes(key));
  if (unknown !== undefined) {
    throw new RequestError(400, `${what} has an unknown field ${quoted(unknown)}; allowed: ${allowed.join(', ')}`);
  }
  return value as Readonly<Partial<Record<K, Json>>>;
}

/** Text of a caller in a message of ours: in quotes, and not longer than makes sense. */
export function quoted(text: string): string {
  return JSON.stringify(text.length > SHOWN_CHARACTERS ? `${text.slice(0, SHOWN_CHARACTERS)}…` : text);
}

function shown(path: readonly (string | number)[]): string {
  return path.length === 0 ? 'the top' : quoted(path.join('.'));
}
