/**
 * What can be said about a payload without asking PostgreSQL.
 *
 * `refusalOf` keeps mass garbage bearable: the slow path asks it before it begins to bisect, and it refuses only what
 * PostgreSQL's jsonb refuses too (the test asks PostgreSQL). What it lets pass is not thereby good.
 */

const strict = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
/** An escape of JSON text: a backslash and what it escapes, so that an escaped backslash is not taken for an escape. */
const ESCAPE = /\\(?:u([0-9a-fA-F]{4})|.)/gs;

/** Why PostgreSQL would refuse the payload as jsonb; undefined: it may be good. */
export function refusalOf(payload: Buffer): string | undefined {
  let text: string;
  try {
    text = strict.decode(payload);
  } catch {
    return 'invalid byte sequence for encoding "UTF8"';
  }
  try {
    JSON.parse(text);
  } catch {
    return 'invalid input syntax for type json';
  }
  return text.includes('\\u') ? escapeRefusal(text) : undefined;
}

function escapeRefusal(text: string): string | undefined {
  let highEnd = -1;
  for (const match of text.matchAll(ESCAPE)) {
    const code = match[1] === undefined ? undefined : Number.parseInt(match[1], 16);
    const isLow = code !== undefined && code >= 0xdc00 && code <= 0xdfff;
    const isPair = isLow && match.index === highEnd;
    if (highEnd >= 0 ? !isPair : isLow) return 'invalid input syntax for type json: a lone surrogate';
    highEnd = code !== undefined && code >= 0xd800 && code <= 0xdbff ? match.index + match[0].length : -1;
    if (code === 0) return 'unsupported Unicode escape sequence: \\u0000 cannot be converted to text';
  }
  return highEnd >= 0 ? 'invalid input syntax for type json: a lone surrogate' : undefined;
}

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const COMMA = 0x2c;
const COLON = 0x3a;

/**
 * True unless the payload, put where a value stands in JSON, would end that value and go on after it: a comma, colon or
 * closing bracket outside of all its own brackets. Says nothing else about it.
 */
export function isOneValue(payload: Buffer): boolean {
  let depth = 0;
  for (let at = 0; at < payload.length; at++) {
    const byte = payload[at]!;
    if (byte === QUOTE) {
      at = endOfString(payload, at);
    } else if (byte === 0x7b || byte === 0x5b) {
      depth++;
    } else if (byte === 0x7d || byte === 0x5d) {
      if (--depth < 0) return false;
    } else if (depth === 0 && (byte === COMMA || byte === COLON)) {
      return false;
    }
  }
  return depth === 0;
}

/** Where the string that starts at `start` has its closing quote; the end of the payload where there is none. */
function endOfString(payload: Buffer, start: number): number {
  for (let at = start + 1; at < payload.length; at++) {
    if (payload[at] === BACKSLASH) at++;
    else if (payload[at] === QUOTE) return at;
  }
  return payload.length;
}
