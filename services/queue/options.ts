/** How the options of the queue commands are read: as the fields of a configuration are. */
import { InvalidArgumentError } from 'commander';
import type { Field } from '../../shared/config.js';
import { parsePosition, type Position } from '../../shared/position.js';

/** What an export writes. */
export const FORMATS = ['ndjson', 'batches'] as const;
export type Format = (typeof FORMATS)[number];

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

/** A position, or a time in ISO 8601. */
export const toTarget: (value: string) => Position | Date = parserOf({
  parse: (value) => parsePosition(value) ?? parseTime(value),
  allowed: 'a position, epoch:offset, or a time, as 2026-11-20T08:00:00Z',
});

function parseTime(value: string): Date | undefined {
  const time = new Date(value);
  return /^\d{4}-\d\d-\d\dT/.test(value) && !Number.isNaN(time.getTime()) ? time : undefined;
}
