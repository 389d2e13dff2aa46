/** What a log says of the link to the router: connected and lost, credit 0 and credit, behind and caught up. */
import { CatchUp } from '../../shared/catch-up.js';
import type { Logger } from '../../shared/log.js';
import { formatPosition, START, type Position } from '../../shared/position.js';
import { StateLog } from '../../shared/state-log.js';

export class LinkLog {
  readonly #link: StateLog;
  readonly #credit: StateLog;
  readonly #progress: CatchUp;
  #stored = START;

  constructor(
    log: Logger,
    private readonly router: string,
  ) {
    this.#link = new StateLog(log, 'new');
    this.#credit = new StateLog(log, 'credit');
    this.#progress = new CatchUp(log, { behind: 'the router is behind', caughtUp: 'the router has caught up' });
  }

  connected(stored: Position): void {
    const fields = { router: this.router, stored: formatPosition(stored) };
    this.#link.enter('connected', 'info', fields, 'connected to the router');
  }

  lost(reason: string): void {
    const fields = { router: this.router, reason };
    this.#link.enter('lost', 'warn', fields, 'no link to the router; records are kept here meanwhile');
  }

  /** What the router said. */
  standing(stored: Position, creditBytes: number): void {
    this.#stored = stored;
    if (creditBytes > 0) this.#credit.enter('credit', 'info', { creditBytes }, 'the router gives credit again');
    else
      this.#credit.enter('none', 'warn', {}, 'credit 0: the router is at its quota; records are kept here meanwhile');
  }

  /** To be called now and then. */
  progress(head: Position): void {
    this.#progress.note(head, this.#stored);
  }
}
