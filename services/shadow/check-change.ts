/**
 * What a change must keep to before a store begins with it. LMDB commits what was put before something threw (lmdb-js ends
 * the transaction either way), and Redis does not take back what a script did before it failed: so nothing may throw
 * half-way.
 */
import { HoldfastError } from '../../shared/errors.js';
import type { Change, CommandWrite } from './store.js';

/** Longer than any device id; twice that with a separator is still a key for LMDB. */
const MAX_ID_LENGTH = 256;

/** True for what can be the id of a queue, a thing or a command; of nothing else is there a value. */
export function isId(id: string): boolean {
  return id.length > 0 && id.length <= MAX_ID_LENGTH;
}

/** @throws HoldfastError store (no retry) where a change names something that cannot be written */
export function checkChange({ applied, things, commands }: Change): void {
  if (applied !== undefined && !isId(applied.queueId))
    throw unfit(`a queue's id of ${applied.queueId.length} characters`);
  for (const { thing } of things) if (!isId(thing)) throw unfit(`a thing's id of ${thing.length} characters`);
  for (const { id, thing, dueMs } of commands) {
    if (!isId(id) || !isId(thing)) throw unfit(`a command's ids of ${id.length} and ${thing.length} characters`);
    if (!(dueMs >= 0)) throw unfit(`a command that is due at ${dueMs}`);
  }
}

/** The commands of a change, each once: of several writes of one command the last holds. */
export function lastWrites(commands: readonly CommandWrite[]): Iterable<CommandWrite> {
  return new Map(commands.map((command) => [command.id, command])).values();
}

function unfit(what: string): HoldfastError {
  return new HoldfastError('store', `a change holds ${what}; nothing of it was written`, false);
}
