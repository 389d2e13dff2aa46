/**
 * Whether one who follows a queue is behind or has caught up, as a line at each change.
 *
 * Under load nobody is ever at the head. So a mark is set at the head, and what counts is how long it takes until the mark is
 * reached: up to ten seconds is keeping up, longer is behind. A new mark is set where the last one was reached. A backlog is
 * nothing wrong, and told as information.
 */
import type { Logger } from './log.js';
import { comparePositions, formatPosition, type Position } from './position.js';
import { StateLog } from './state-log.js';

const BEHIND_MS = 10_000;

export interface CatchUpWords {
  readonly behind: string;
  readonly caughtUp: string;
}

export class CatchUp {
  readonly #state: StateLog;
  #mark: { readonly position: Position; readonly setMs: number } | undefined;

  /** @param words what is logged */
  constructor(
    log: Logger,
    private readonly words: CatchUpWords,
  ) {
    this.#state = new StateLog(log, 'unknown');
  }

  /**
   * To be called now and then, also where nothing has changed.
   * @param head the queue's
   * @param reached how far the follower is
   * @param nowMs of a clock that does not jump
   */
  note(head: Position, reached: Position, nowMs: number = performance.now()): void {
    const mark = (this.#mark ??= { position: head, setMs: nowMs });
    const isLate = nowMs - mark.setMs > BEHIND_MS;
    const fields = { at: formatPosition(reached), head: formatPosition(head) };
    if (comparePositions(reached, mark.position) < 0) {
      if (isLate) this.#state.enter('behind', 'info', fields, this.words.behind);
      return;
    }
    if (!isLate || comparePositions(reached, head) >= 0) {
      this.#state.enter('caught up', 'info', fields, this.words.caughtUp);
    }
    this.#mark = { position: head, setMs: nowMs };
  }
}
