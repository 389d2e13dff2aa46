/** What a log says of a consumer's link to the router: a line where it is attached, lost, refused, behind or has caught up. */
import { CatchUp } from './catch-up.js';
import { LimitedLog } from './limited-log.js';
import type { Logger } from './log.js';
import { formatPosition, type Position } from './position.js';
import { StateLog } from './state-log.js';

export class ConsumerLog {
  readonly #link: StateLog;
  readonly #progress: CatchUp;
  readonly #faults: LimitedLog;
  #wasRefused = false;

  constructor(log: Logger) {
    this.#link = new StateLog(log, 'new');
    this.#faults = new LimitedLog(log);
    this.#progress = new CatchUp(log, { behind: 'behind the router', caughtUp: 'caught up with the router' });
  }

  attached(queueId: string, after: Position): void {
    this.#link.enter('attached', 'info', { queueId, after: formatPosition(after) }, 'attached to the router');
  }

  lost(reason: string): void {
    this.#link.enter('lost', 'warn', { reason }, 'no link to the router; it keeps what comes');
  }

  /** A request was not answered in time. One that was refused was answered so. */
  silent(): void {
    if (!this.#wasRefused) this.lost('no answer from the router');
    this.#wasRefused = false;
  }

  refused(reason: string): void {
    this.#wasRefused = true;
    this.#link.enter(`refused: ${reason}`, 'warn', { reason }, 'the router refused a request');
  }

  /** @param reason why the consumer's own position cannot be read */
  cannotResume(reason: string): void {
    this.#link.enter(`resume: ${reason}`, 'warn', { reason }, 'cannot resume yet');
  }

  /** @param acked what is durable here */
  progress(head: Position, acked: Position): void {
    this.#progress.note(head, acked);
  }

  /** What does not change how things stand, and may come often. */
  fault(level: 'warn' | 'error', reason: string, message: string): void {
    this.#faults.tell(level, { reason }, message);
  }
}
