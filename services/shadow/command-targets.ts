/**
 * Which things a request for many goes to, found in bounded steps before any command is made, so that a request that
 * cannot be met leaves nothing behind.
 */
import type { CommandTargets } from './api.js';
import { RequestError } from './request-error.js';
import type { Store } from './store.js';
import type { ThingsApi } from './things-api.js';

/** The most things that one request goes to. */
export const MAX_TARGETS = 10_000;
/** Things that are read at a time. */
export const THINGS_A_STEP = 1_000;
/** Ids that an error names. */
const NAMED = 10;

/** Groups of `size`; the last may be smaller. */
export function* groupsOf<T>(items: readonly T[], size: number): Generator<readonly T[]> {
  for (let start = 0; start < items.length; start += size) yield items.slice(start, start + size);
}

/**
 * The ids of the things, each once: all that are named, or all that match as the store has them now.
 * @throws RequestError 400 where they are too many or nothing says which; 404 where one that is named was never heard of
 */
export async function findTargets(things: ThingsApi, store: Store, targets: CommandTargets): Promise<string[]> {
  if (isNamed(targets)) return await checkNamed(things, [...new Set(targets)]);
  if (targets.type === undefined && targets.site === undefined) {
    throw new RequestError(400, 'Name "things", or a "type", a "site" or both');
  }
  const found: string[] = [];
  for (let after = ''; ;) {
    const listed = await store.list(after, THINGS_A_STEP);
    for (const { thing, entry } of listed) {
      if (targets.type !== undefined && entry.type !== targets.type) continue;
      if (targets.site === undefined || entry.site === targets.site) found.push(thing);
    }
    if (found.length > MAX_TARGETS) throw tooMany('More than');
    const last = listed.at(-1);
    if (last === undefined || listed.length < THINGS_A_STEP) return found;
    after = last.thing;
  }
}

async function checkNamed(things: ThingsApi, ids: string[]): Promise<string[]> {
  if (ids.length === 0) throw new RequestError(400, '"things" is empty: name at least one');
  if (ids.length > MAX_TARGETS) throw tooMany(`${ids.length} things, and more than`);
  const unknown: string[] = [];
  for (const group of groupsOf(ids, THINGS_A_STEP)) {
    unknown.push(...(await things.get(group)).filter(({ isKnown }) => !isKnown).map(({ id }) => id));
  }
  if (unknown.length === 0) return ids;
  const more = unknown.length > NAMED ? ` and ${unknown.length - NAMED} more` : '';
  const names = unknown.slice(0, NAMED).join(', ');
  throw new RequestError(
    404,
    `No command was made: ${names}${more} ${unknown.length === 1 ? 'was' : 'were'} never heard of`,
  );
}

function tooMany(what: string): RequestError {
  return new RequestError(400, `${what} ${MAX_TARGETS} things are meant, the most for one request: ask in several`);
}

function isNamed(targets: CommandTargets): targets is readonly string[] {
  return Array.isArray(targets);
}
