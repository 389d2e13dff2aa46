/**
 * Finds values in JSON text by their bytes. A record's payload is stored as the device wrote it, so that no number loses
 * digits on its way; JSON.parse says whether the text is JSON, and these functions, which trust that it is, say where.
 */

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const COMMA = 0x2c;
const COLON = 0x3a;
const OPEN_BRACE = 0x7b;
const CLOSE_BRACE = 0x7d;
const OPEN_BRACKET = 0x5b;
const CLOSE_BRACKET = 0x5d;

/** A value's bytes, `[start, end)`, and how deep it nests: 0 for a number, 1 for `{}`, 2 for `{"a":[]}`. */
export interface Span {
  readonly start: number;
  readonly end: number;
  readonly depth: number;
}

/** The value that starts at or after `at`. */
export function scanValue(text: Uint8Array, at: number): Span {
  const start = skipSpace(text, at);
  const first = text[start];
  if (first === QUOTE) return { start, end: scanString(text, start), depth: 0 };
  if (first !== OPEN_BRACE && first !== OPEN_BRACKET) return { start, end: scanPlain(text, start), depth: 0 };
  let level = 0;
  let depth = 0;
  let end = start;
  do {
    const byte = text[end]!;
    if (byte === QUOTE) {
      end = scanString(text, end);
      continue;
    }
    if (byte === OPEN_BRACE || byte === OPEN_BRACKET) depth = Math.max(depth, ++level);
    else if (byte === CLOSE_BRACE || byte === CLOSE_BRACKET) level--;
    end++;
  } while (level > 0 && end < text.length);
  return { start, end, depth };
}

/** The elements of the array that starts at or after `at`. */
export function scanArray(text: Uint8Array, at: number): Span[] {
  const elements: Span[] = [];
  let next = skipSpace(text, skipSpace(text, at) + 1);
  while (text[next] !== CLOSE_BRACKET && next < text.length) {
    const element = scanValue(text, next);
    elements.push(element);
    next = skipSpace(text, element.end);
    if (text[next] === COMMA) next = skipSpace(text, next + 1);
  }
  return elements;
}

/** The value of a member of the object that starts at or after `at`: the last one of that name, as JSON.parse takes it. */
export function scanMember(text: Buffer, at: number, name: string): Span | undefined {
  let found: Span | undefined;
  let next = skipSpace(text, skipSpace(text, at) + 1);
  while (text[next] !== CLOSE_BRACE && next < text.length) {
    const key = scanValue(text, next);
    const value = scanValue(text, skipSpace(text, key.end, COLON));
    if (isName(text, key, name)) found = value;
    next = skipSpace(text, value.end, COMMA);
  }
  return found;
}

function isName(text: Buffer, key: Span, name: string): boolean {
  const written = text.toString('latin1', key.start + 1, key.end - 1);
  if (written === name) return true;
  // A key may be written with escapes: "d\u0061ta" is "data".
  return written.includes('\\') && JSON.parse(text.toString('utf8', key.start, key.end)) === name;
}

function scanString(text: Uint8Array, start: number): number {
  let at = start + 1;
  while (at < text.length && text[at] !== QUOTE) at += text[at] === BACKSLASH ? 2 : 1;
  return at + 1;
}

function scanPlain(text: Uint8Array, start: number): number {
  let at = start;
  while (at < text.length && !isEnd(text[at]!)) at++;
  return at;
}

function isEnd(byte: number): boolean {
  return byte <= 0x20 || byte === COMMA || byte === CLOSE_BRACE || byte === CLOSE_BRACKET || byte === COLON;
}

/** Skips white space, and one `separator` with the white space after it where it is given. */
function skipSpace(text: Uint8Array, at: number, separator?: number): number {
  let next = at;
  while (next < text.length && (text[next]! <= 0x20 || text[next] === separator)) next++;
  return next;
}
