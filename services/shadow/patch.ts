/**
 * What a section is patched with, and whether it may be: patches come from devices and from callers of the API.
 *
 * A patch is a JSON object: a value sets the field, null removes it, an object goes into the field, an array replaces it
 * whole. An object in a patch says that there is an object, also when it is empty (AWS keeps empty objects, and so does
 * this); one that holds nothing but removals says nothing more than those.
 *
 * Refused with 400 and the path: a null inside an array (it could only mean a removal, and elements are not removed),
 * numbers that JSON cannot write again (1e999), and nesting beyond the limit. The section itself is the first level, and
 * arrays count as levels. Names need no check: they are kept in lists (names.ts) and in objects without a prototype, where
 * `__proto__` is a name like any other.
 *
 * The check also says how many bytes the patch can add to the document, which is cheap to know from above and expensive to
 * know exactly: a document is measured only when the sum of what was added comes near the limit.
 */
import { isJsonObject, type Json, type JsonObject } from './json.js';
import { RequestError } from './request-error.js';

/** The longest number in JSON, e.g. -0.0000012345678901234567. */
const NUMBER_BYTES = 25;
const INTEGER_BYTES = 11;
/** A character that is escaped: \u001f. */
const CHARACTER_BYTES = 6;
/** Quotes, colon and comma. */
const FIELD_BYTES = 4;

/**
 * @param section what errors call it: desired, reported
 * @param depth levels that may be nested, the section itself included
 * @returns the most bytes that merging the patch can add to the document's JSON
 * @throws RequestError 400
 */
export function checkPatch(patch: JsonObject, section: string, depth: number): number {
  return checkObject(patch, `state.${section}`, depth, depth, false);
}

function checkObject(value: JsonObject, path: string, levels: number, depth: number, inArray: boolean): number {
  if (levels < 1) throw tooDeep(path, depth);
  let bytes = 2;
  for (const key in value) {
    const field = value[key]!;
    bytes += CHARACTER_BYTES * key.length + FIELD_BYTES;
    if (typeof field === 'number') bytes += numberBytes(field, path, key);
    else if (typeof field === 'string') bytes += CHARACTER_BYTES * field.length + 2;
    else bytes += checkOther(field, path, key, levels, depth, inArray);
  }
  return bytes;
}

function checkArray(value: readonly Json[], path: string, levels: number, depth: number): number {
  if (levels < 1) throw tooDeep(path, depth);
  let bytes = 2 + value.length;
  for (const [at, element] of value.entries()) {
    if (typeof element === 'number') bytes += numberBytes(element, path, at);
    else if (typeof element === 'string') bytes += CHARACTER_BYTES * element.length + 2;
    else bytes += checkOther(element, path, at, levels, depth, true);
  }
  return bytes;
}

function checkOther(
  value: Json,
  path: string,
  key: string | number,
  levels: number,
  depth: number,
  inArray: boolean,
): number {
  if (typeof value === 'boolean') return 5;
  if (value === null) {
    if (!inArray) return 0;
    throw new RequestError(400, `${step(path, key)} is null: null removes a field, and cannot stand inside an array`);
  }
  if (Array.isArray(value)) return checkArray(value, step(path, key), levels - 1, depth);
  if (isJsonObject(value)) return checkObject(value, step(path, key), levels - 1, depth, inArray);
  throw new RequestError(400, `${step(path, key)} is no JSON value`);
}

function numberBytes(value: number, path: string, key: string | number): number {
  if ((value | 0) === value) return INTEGER_BYTES;
  if (Number.isFinite(value)) return NUMBER_BYTES;
  throw new RequestError(400, `${step(path, key)} is larger than any number that can be kept`);
}

function tooDeep(path: string, depth: number): RequestError {
  return new RequestError(400, `JSON contains too many levels of nesting at ${path}; maximum is ${depth}`);
}

function step(path: string, key: string | number): string {
  return typeof key === 'number' ? `${path}[${key}]` : `${path}.${key}`;
}

/** How many of the bytes that checkPatch counted for a field do not come on top, where the field was there already. */
export function replacedBytes(key: string): number {
  return CHARACTER_BYTES * key.length + FIELD_BYTES + 1;
}

/** Bytes of a text as a JSON string, quotes included, in UTF-8. */
export function jsonBytes(text: string): number {
  let bytes = 2;
  for (let at = 0; at < text.length; at++) {
    const code = text.charCodeAt(at);
    if (code >= 0x20 && code < 0x80) bytes += code === 0x22 || code === 0x5c ? 2 : 1;
    else if (code >= 0x80) return Buffer.byteLength(JSON.stringify(text));
    else if (code === 8 || code === 9 || code === 10 || code === 12 || code === 13) bytes += 2;
    else bytes += CHARACTER_BYTES;
  }
  return bytes;
}

/** `{"timestamp": ms}` for every value of a patch, in the patch's own form. */
export function patchMetadata(patch: JsonObject, timeMs: number): JsonObject {
  const metadata = emptyObject();
  for (const [key, value] of Object.entries(patch)) {
    if (!saysAnything(value)) continue;
    metadata[key] = isJsonObject(value) ? patchMetadata(value, timeMs) : { timestamp: timeMs };
  }
  return metadata;
}

/** False for a removal, and for an object of nothing but removals. */
export function saysAnything(value: Json): boolean {
  if (!isJsonObject(value)) return value !== null;
  const values = Object.values(value);
  return values.length === 0 || values.some(saysAnything);
}

/** An object without a prototype: any name can be set in it. */
export function emptyObject(): Record<string, Json> {
  return Object.create(null) as Record<string, Json>;
}
