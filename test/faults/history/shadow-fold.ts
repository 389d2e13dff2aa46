/**
 * What devices said and applications set, in its order, and the checker: the documents that must be there in the end.
 *
 * It folds by itself, in the plainest way, with the code of no service: fields are merged, null removes, each leaf has the
 * time of what set it, and every update is one version. What devices report has rising times here.
 */
import type { ShadowDocument } from '../../support/shadow-client.js';

export type Fields = Readonly<Record<string, unknown>>;

/** What of a document is compared. */
interface Expected {
  readonly state: { desired?: Fields; reported?: Fields; delta?: Fields };
  readonly metadata: { desired?: Fields; reported?: Fields };
  version: number;
  latest: { time: number; seq: number; data: unknown } | null;
}

export class ShadowHistory {
  readonly #things = new Map<string, Expected>();

  get things(): string[] {
    return [...this.#things.keys()];
  }

  /** A device reported, at its time `timeMs`. */
  reported(thing: string, report: Fields, timeMs: number): void {
    this.#update(thing, 'reported', report, timeMs);
  }

  /** An application's update was accepted, at shadow's time `timeMs`. */
  desired(thing: string, desired: Fields, timeMs: number): void {
    this.#update(thing, 'desired', desired, timeMs);
  }

  /** A device sent telemetry. */
  sent(thing: string, seq: number, timeMs: number, data: unknown): void {
    this.#of(thing).latest = { time: timeMs, seq, data };
  }

  /** @returns what differs from the document that must be there, one line each; empty: nothing does */
  check(thing: string, document: ShadowDocument | undefined): string[] {
    const expected = this.#of(thing);
    const { state, metadata, version, latest } = expected;
    const delta = difference(state.desired ?? {}, state.reported ?? {});
    const all = { ...state, ...(Object.keys(delta).length === 0 ? {} : { delta }) };
    const pairs = [
      ['state', all, document?.state],
      ['metadata', metadata, document?.metadata],
      ['version', version, document?.version],
      ['latest', latest, document?.latest],
    ] as const;
    return pairs
      .filter(([, wanted, found]) => canonical(wanted) !== canonical(found))
      .map(([what, wanted, found]) => `${thing}: ${what} is ${canonical(found)} and not ${canonical(wanted)}`);
  }

  #update(thing: string, section: 'desired' | 'reported', patch: Fields, timeMs: number): void {
    const expected = this.#of(thing);
    expected.version++;
    expected.state[section] = mergeFields(expected.state[section] ?? {}, patch, (value) => value);
    expected.metadata[section] = mergeFields(expected.metadata[section] ?? {}, patch, () => ({ timestamp: timeMs }));
  }

  #of(thing: string): Expected {
    const known = this.#things.get(thing);
    if (known !== undefined) return known;
    const expected: Expected = { state: {}, metadata: {}, version: 0, latest: null };
    this.#things.set(thing, expected);
    return expected;
  }
}

/** `fields` with those of `patch`; what `patch` sets to null is gone. */
export function mergeFields(fields: Fields, patch: Fields, leaf: (value: unknown) => unknown): Fields {
  const merged = new Map(Object.entries(fields));
  for (const [key, value] of Object.entries(patch)) {
    const before = merged.get(key);
    if (value === null) merged.delete(key);
    else if (isFields(value)) merged.set(key, mergeFields(isFields(before) ? before : {}, value, leaf));
    else merged.set(key, leaf(value));
  }
  return Object.fromEntries(merged);
}

/** What is desired and not reported so. */
function difference(desired: Fields, reported: Fields): Fields {
  const differing: Record<string, unknown> = {};
  for (const [key, wanted] of Object.entries(desired)) {
    const has = reported[key];
    if (isFields(wanted) && isFields(has)) {
      const inside = difference(wanted, has);
      if (Object.keys(inside).length > 0) differing[key] = inside;
    } else if (canonical(wanted) !== canonical(has)) {
      differing[key] = wanted;
    }
  }
  return differing;
}

function isFields(value: unknown): value is Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** True for JSON that differs at most in the order of keys. */
export function sameFields(a: unknown, b: unknown): boolean {
  return canonical(a) === canonical(b);
}

/** JSON with the keys of objects in order. */
function canonical(value: unknown): string {
  const sort = (_: string, inner: unknown): unknown =>
    isFields(inner) ? Object.fromEntries(Object.entries(inner).sort(([a], [b]) => (a < b ? -1 : 1))) : inner;
  return JSON.stringify(value, sort);
}
