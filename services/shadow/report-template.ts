/**
 * What all reports with the same fields have in common: every byte but those of their numbers.
 *
 *   {"fanSpeed":  ,"coreSpeed":  ,"inletT":  }
 *
 * Devices mostly say the same fields in the same order, so that a report can be read by comparing it with the names that its
 * thing has already, without making a text, an object and a key of each name of it: that takes a fraction of JSON.parse.
 *
 * Only what cannot be misunderstood is read here: no space, names spelled as JSON.stringify spells them, numbers without an
 * exponent and of at most 15 digits. Such a number is an integer below 2^53 over a power of ten below 10^22; both are exact, so
 * the quotient is rounded once and is the number that JSON.parse gives (W. D. Clinger, How to Read Floating Point Numbers
 * Accurately, 1990). Everything else, be it valid or not, is left to JSON.parse.
 */
const ZERO = 0x30;
const MINUS = 0x2d;
const POINT = 0x2e;
const CLOSE = 0x7d;
const MAX_DIGITS = 15;
/** Exact as doubles. */
const POWERS = Array.from({ length: MAX_DIGITS + 1 }, (_, power) => 10 ** power);
/** The most bytes that a number of so many digits has as JSON: sign, `0.` and an exponent included. */
const MAX_NUMBER_BYTES = 25;

export class ReportTemplate {
  /** The most bytes that a report has which is read here, once it is JSON of shadow's own. */
  readonly maxBytes: number;
  /** How many numbers it has. */
  readonly count: number;
  /** All bytes but those of the numbers and the last one. */
  readonly #fixed: Buffer;
  /** Where in them those before each number end. */
  readonly #ends: readonly number[];

  /** @param names at least one, none twice */
  constructor(names: readonly string[]) {
    const parts = names.map((name, at) => Buffer.from(`${at === 0 ? '{' : ','}${JSON.stringify(name)}:`));
    let bytes = 0;
    this.#ends = parts.map(({ length }) => (bytes += length));
    this.#fixed = Buffer.concat(parts);
    this.count = names.length;
    this.maxBytes = bytes + 1 + names.length * MAX_NUMBER_BYTES;
  }

  /**
   * Reads the numbers of a report.
   * @param into gets them; where the report is not of this kind it may hold some of them
   * @returns false where it is not
   */
  read(bytes: Buffer, start: number, end: number, into: Float64Array): boolean {
    const fixed = this.#fixed;
    const ends = this.#ends;
    let at = start;
    let from = 0;
    for (let field = 0; field < ends.length; field++) {
      for (const to = ends[field]!; from < to; from++, at++) if (bytes[at] !== fixed[from]) return false;
      at = readNumber(bytes, at, into, field);
      if (at < 0) return false;
    }
    return at + 1 === end && bytes[at] === CLOSE;
  }
}

/** @returns where the number ends; -1 where there is none that is read here */
function readNumber(bytes: Buffer, start: number, into: Float64Array, field: number): number {
  const isNegative = bytes[start] === MINUS;
  const first = isNegative ? start + 1 : start;
  let at = first;
  let digits = 0;
  for (let digit; (digit = bytes[at]! - ZERO) >= 0 && digit <= 9; at++) digits = 10 * digits + digit;
  // No digit, or a zero before others.
  if (at === first || (bytes[first] === ZERO && at > first + 1)) return -1;
  let decimals = 0;
  if (bytes[at] === POINT) {
    const point = at++;
    for (let digit; (digit = bytes[at]! - ZERO) >= 0 && digit <= 9; at++) digits = 10 * digits + digit;
    decimals = at - point - 1;
    if (decimals === 0) return -1;
  }
  // The point counts as one.
  if (at - first > MAX_DIGITS) return -1;
  into[field] = (isNegative ? -digits : digits) / POWERS[decimals]!;
  return at;
}
