/** What is written together: everything that has changed since the last write began. */
import type { Position } from '../../shared/position.js';
import type { Slot } from './hot.js';
import type { CommandWrite } from './store.js';
import type { Thing } from './thing.js';

/** Somebody who asked for a change and waits until it is durable. */
export interface Waiter {
  readonly resolve: () => void;
  readonly reject: (error: unknown) => void;
}

/** More than there ever are in memory. */
const MAX_THINGS = 2 ** 25;

let groups = 0;

export class Group {
  /** What slots say that are in it. */
  readonly number = ++groups;
  readonly things: Slot<Thing>[] = [];
  /** Those of the things whose documents or pending commands have changed. */
  readonly changed: Slot<Thing>[] = [];
  readonly commands = new Map<string, CommandWrite>();
  readonly waiters: Waiter[] = [];
  /** Up to where records are applied; undefined: none were. */
  through: Position | undefined;
  /** When the oldest of its records came to an edge. */
  oldestMs = Number.POSITIVE_INFINITY;
  /** Bytes of batches that its things may refer to. */
  bytes = 0;

  /**
   * Its things in the order in which they came into memory, where they lie side by side then: reading 100,000 of them in the
   * order of their records takes twice as long.
   */
  inOrder(): Slot<Thing>[] {
    const keys = Float64Array.from(this.things, ({ number }, at) => number * MAX_THINGS + at).sort();
    return Array.from(keys, (key) => this.things[key % MAX_THINGS]!);
  }

  get isEmpty(): boolean {
    return this.things.length === 0 && this.commands.size === 0 && this.through === undefined;
  }
}
