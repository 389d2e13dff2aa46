/** How the options of the queue commands are read: as the fields of a configuration are. */
import { InvalidArgumentError } from 'commander';
import type { Field } from '../../shared/config.js';
import { parsePosition, type Position } from '../../shared/position.js';

/** Reads an option as the field would be read from the environment. */
export function parserOf<T>(field: Pick<Field<T>, 'parse' | 'allowed'>): (value: string) => T {
  return (value) => {
    const parsed = field.parse(value);
    if (parsed === undefined) throw new InvalidArgumentError(`allowed: ${field.allowed}`);
    return parsed;
  };
}

/** A position as people write it. */
export const toPosition: (value: string) => Position = parserOf({
  parse: parsePosition,
  allowed: 'a position, epoch:offset',
});
