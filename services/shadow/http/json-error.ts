/**
 * Where JSON is wrong. JSON.parse names no position for most errors, and whoever pastes a curl line needs one; so what it
 * refused is looked through again here. No recursion: a body of nothing but brackets must not end the process.
 */

export interface JsonError {
  /** Index of the first character that cannot be. */
  readonly at: number;
  readonly expected: string;
}

type Mode = 'value' | 'first value' | 'key' | 'first key' | 'colon' | 'after';

const EXPECTED: Readonly<Record<Mode, string>> = {
  value: 'a value',
  'first value': 'a value or ]',
  key: 'a key in quotes',
  'first key': 'a key in quotes or }',
  colon: 'a colon',
  after: 'the end',
};
const NUMBER = /-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?/y;
const WORD = /true|false|null/y;
const ESCAPE = /\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4})/y;

/** The first error, or undefined where the text is JSON. */
export function findJsonError(text: string): JsonError | undefined {
  const open: ('}' | ']')[] = [];
  let mode: Mode = 'value';
  let at = 0;
  for (;;) {
    at = skipSpace(text, at);
    const character = text[at];
    const closing = open.at(-1);
    if (character === undefined && mode === 'after' && closing === undefined) return undefined;
    const mayClose = mode === 'after' || mode === 'first value' || mode === 'first key';
    if (character !== undefined && character === closing && mayClose) {
      open.pop();
      mode = 'after';
      at++;
    } else if (mode === 'after' && character === ',' && closing !== undefined) {
      mode = closing === '}' ? 'key' : 'value';
      at++;
    } else if (mode === 'colon' && character === ':') {
      mode = 'value';
      at++;
    } else if ((mode === 'key' || mode === 'first key') && character === '"') {
      const end = endOfString(text, at);
      if (typeof end !== 'number') return end;
      mode = 'colon';
      at = end;
    } else if ((mode === 'value' || mode === 'first value') && (character === '{' || character === '[')) {
      open.push(character === '{' ? '}' : ']');
      mode = character === '{' ? 'first key' : 'first value';
      at++;
    } else if (mode === 'value' || mode === 'first value') {
      const end = character === '"' ? endOfString(text, at) : (endOf(NUMBER, text, at) ?? endOf(WORD, text, at));
      if (typeof end !== 'number') return end ?? { at, expected: EXPECTED[mode] };
      mode = 'after';
      at = end;
    } else {
      return { at, expected: mode === 'after' && closing !== undefined ? `a comma or ${closing}` : EXPECTED[mode] };
    }
  }
}

/** The position as a person counts it, and what stands there. */
export function describeJsonError(text: string, { at, expected }: JsonError): string {
  const before = text.slice(0, at);
  const line = before.split('\n').length;
  const column = at - before.lastIndexOf('\n');
  const found = at < text.length ? JSON.stringify(String.fromCodePoint(text.codePointAt(at)!)) : 'the end of the body';
  return `expected ${expected} at position ${at} (line ${line}, column ${column}), found ${found}`;
}

function skipSpace(text: string, start: number): number {
  let at = start;
  while (text[at] === ' ' || text[at] === '\n' || text[at] === '\r' || text[at] === '\t') at++;
  return at;
}

function endOf(token: RegExp, text: string, at: number): number | undefined {
  token.lastIndex = at;
  return token.test(text) ? token.lastIndex : undefined;
}

/** @param start where the opening quote stands */
function endOfString(text: string, start: number): number | JsonError {
  let at = start + 1;
  for (;;) {
    const character = text[at];
    if (character === '"') return at + 1;
    if (character === undefined) return { at, expected: 'a closing quote' };
    if (character < ' ') return { at, expected: 'no control character in a string' };
    const end = character === '\\' ? endOf(ESCAPE, text, at) : at + 1;
    if (end === undefined) return { at, expected: 'an escape that JSON has' };
    at = end;
  }
}
