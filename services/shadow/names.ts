/**
 * The names of a branch's fields, apart from their values: devices of a fleet report the same fields, so that a hundred
 * thousand documents share one list of names, its index and its encoded form. A thing then holds little more than its
 * values and times, and a report with the fields of the last one is merged by comparing pointers.
 *
 * Lists are interned by their JSON text. The table is bounded: where names come in ever new combinations it starts afresh,
 * and lists that are in use then stay as they are and are merely not shared with later ones.
 */
import { jsonBytes } from './patch.js';
import { ReportTemplate } from './report-template.js';

/** Lists that are shared; more of them means that the table is started afresh. */
const MAX_SHARED = 4_096;
/** Longer texts are not shared: the table stays below 8 MiB. */
const MAX_SHARED_CHARACTERS = 1_024;
/** Up to so many names a scan is as fast as a map. */
const SCAN_AT_MOST = 8;

export class Names {
  /** JSON of the list, all ASCII: what a stored thing holds. */
  readonly text: string;
  /** Bytes of a JSON object with these keys and values of no length, in UTF-8. */
  readonly jsonBytes: number;
  #index: Map<string, number> | undefined;
  #template: ReportTemplate | undefined;

  /** @param list no name twice */
  constructor(
    readonly list: readonly string[],
    text: string,
  ) {
    this.text = text;
    let bytes = 2 + Math.max(0, list.length - 1);
    for (const name of list) bytes += jsonBytes(name) + 1;
    this.jsonBytes = bytes;
  }

  /** What a report with just these fields looks like. There must be a name. */
  get template(): ReportTemplate {
    return (this.#template ??= new ReportTemplate(this.list));
  }

  /** Where a name stands in the list; -1 where it does not. */
  find(name: string): number {
    if (this.list.length <= SCAN_AT_MOST) return this.list.indexOf(name);
    this.#index ??= new Map(this.list.map((each, at) => [each, at]));
    return this.#index.get(name) ?? -1;
  }
}

export const NO_NAMES = new Names([], '[]');

let shared = new Map<string, Names>([[NO_NAMES.text, NO_NAMES]]);

/** The names as a shared list. */
export function namesOf(list: readonly string[]): Names {
  const text = asciiJson(list);
  return shared.get(text) ?? share(new Names(list, text));
}

/**
 * The names whose `text` this is.
 * @returns undefined where it is no JSON list of distinct strings
 */
export function namesFromText(text: string): Names | undefined {
  const known = shared.get(text);
  if (known !== undefined) return known;
  const list = parse(text);
  if (!Array.isArray(list) || !list.every((name): name is string => typeof name === 'string')) return undefined;
  return new Set(list).size === list.length ? share(new Names(list, text)) : undefined;
}

function share(names: Names): Names {
  if (names.text.length > MAX_SHARED_CHARACTERS) return names;
  if (shared.size >= MAX_SHARED) shared = new Map([[NO_NAMES.text, NO_NAMES]]);
  shared.set(names.text, names);
  return names;
}

/** JSON with escapes for all that is not ASCII, so that a character is a byte. */
function asciiJson(list: readonly string[]): string {
  return JSON.stringify(list).replace(
    /[\u007f-\uffff]/g,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined; // the caller says where it was found
  }
}
