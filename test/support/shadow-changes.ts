/** Changes of a shadow's store for tests. */
import { START, type Position } from '../../shared/position.js';
import type { Change, CommandWrite, Store, ThingEntry, ThingWrite } from '../../services/shadow/store.js';

export const QUEUE = '0b9f5d0e-8f3c-4c55-9f4b-0a3c3a0d5f11';

const PLAIN: ThingEntry = { connected: false, type: null, site: null };

export function makeThing(thing: string, value: string | Buffer, entry: Partial<ThingEntry> = {}): ThingWrite {
  return { thing, value: Buffer.from(value), entry: { ...PLAIN, ...entry } };
}

/** A command; a value of undefined removes it. */
export function makeCommand(id: string, thing: string, value: string | undefined, dueMs = 1_000): CommandWrite {
  return { id, thing, value: value === undefined ? undefined : Buffer.from(value), dueMs };
}

/** A change without a position. */
export function changeOf(things: readonly ThingWrite[], commands: readonly CommandWrite[] = []): Change {
  return { applied: undefined, things, commands };
}

export function at(offset: number): Position {
  return offset === 0 ? START : { epoch: 1, offset };
}

/** A change that takes the position of QUEUE from one offset to another. */
export function step(from: number, through: number, things: readonly ThingWrite[] = []): Change {
  return { applied: { queueId: QUEUE, from: at(from), through: at(through) }, things, commands: [] };
}

const COUNTED_THINGS = 40;
const COUNTED_COMMANDS = 5;
const COUNTED_IDS = Array.from({ length: COUNTED_THINGS }, (_, index) => `counted-${index}`);

/**
 * The change that takes a store from number n - 1 to n: the position, the same number in every thing, one new command, and
 * the removal of an old one. Whoever sees a part of it without the rest finds numbers that differ.
 */
export function countedChange(n: number): Change {
  const value = Buffer.alloc(200 + (n % 7) * 300, `${n}.`);
  const entry = { connected: n % 2 === 0, type: `type-${n}`, site: null };
  const things = COUNTED_IDS.map((thing) => ({ thing, value, entry }));
  const commands = [makeCommand(commandId(n), 'counted-0', `${n}`, n)];
  if (n > COUNTED_COMMANDS) commands.push(makeCommand(commandId(n - COUNTED_COMMANDS), 'counted-0', undefined));
  return { applied: { queueId: QUEUE, from: at(n - 1), through: at(n) }, things, commands };
}

/** Through which counted change a store holds everything. @throws Error where its parts differ */
export async function countedIn(store: Store): Promise<number> {
  const { offset: n } = await store.position(QUEUE);
  if (n === 0) return 0;
  const { things } = countedChange(n);
  const values = await store.load(COUNTED_IDS);
  const torn = values.findIndex((value, index) => value === undefined || !value.equals(things[index]!.value));
  if (torn !== -1)
    throw new Error(`${COUNTED_IDS[torn]} is not as of ${n}: ${values[torn]?.toString('latin1', 0, 20)}`);
  const list = await store.list('', 2 * COUNTED_THINGS);
  const wrong = list.filter(({ entry }) => entry.type !== `type-${n}`);
  if (list.length !== COUNTED_THINGS || wrong.length > 0) throw new Error(`the list is not as of ${n}`);
  const first = Math.max(1, n - COUNTED_COMMANDS + 1);
  const ids = Array.from({ length: n - first + 1 }, (_, index) => commandId(first + index));
  const due = await store.dueCommands(Number.MAX_SAFE_INTEGER, 1_000);
  const newest = await store.listCommands('counted-0', '', 1_000);
  const commands = await store.loadCommands(ids);
  const isWhole = due.join() === ids.join() && newest.reverse().join() === ids.join() && !commands.includes(undefined);
  if (!isWhole) throw new Error(`the commands are not as of ${n}: ${due.join()} and ${newest.join()}`);
  return n;
}

/** Ids whose order is that of their numbers. */
export function commandId(n: number): string {
  return `c-${`${n}`.padStart(8, '0')}`;
}
