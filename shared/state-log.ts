/**
 * One line a change of state: connected and lost, at the quota and under it again. Who watches a state says it as often as it
 * likes; only what is new is logged, and a state that flaps does not flood (limited-log.ts).
 */
import { LimitedLog, type Level } from './limited-log.js';
import type { Logger } from './log.js';

export class StateLog {
  readonly #lines: LimitedLog;

  /** @param state what it begins in, which is not logged */
  constructor(
    log: Logger,
    private state: string,
  ) {
    this.#lines = new LimitedLog(log);
  }

  /** Logs that the state is now this one, where it was another. */
  enter(state: string, level: Level, fields: Readonly<Record<string, unknown>>, message: string): void {
    if (state === this.state) return;
    this.state = state;
    this.#lines.tell(level, fields, message);
  }
}
