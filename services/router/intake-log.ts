/** What a log says of the intake: edges that attach, the quota, and what is refused. */
import { LimitedLog } from '../../shared/limited-log.js';
import type { Logger } from '../../shared/log.js';
import { formatPosition, type Position } from '../../shared/position.js';
import { StateLog } from '../../shared/state-log.js';

export class IntakeLog {
  readonly #edges: LimitedLog;
  readonly #faults: LimitedLog;
  readonly #quota: StateLog;

  constructor(log: Logger) {
    this.#edges = new LimitedLog(log);
    this.#faults = new LimitedLog(log);
    this.#quota = new StateLog(log, 'taking');
  }

  attached(queueId: string, next: Position): void {
    this.#edges.tell('info', { queueId, next: formatPosition(next) }, 'edge connected');
  }

  refusedPeer(problem: string, bytes: number): void {
    this.#faults.tell('warn', { problem, bytes }, 'refused a peer of the intake');
  }

  damaged(queueId: string, reason: string): void {
    this.#faults.tell('error', { queueId, reason }, 'an edge sent a damaged batch');
  }

  /** @param refusal why the queue takes nothing now; undefined: it does */
  queue(refusal: Error | undefined): void {
    if (refusal === undefined) {
      this.#quota.enter('taking', 'info', {}, 'the queue takes batches again; edges have credit');
    } else {
      const reason = refusal.message;
      this.#quota.enter(
        'full',
        'warn',
        { reason },
        'the queue takes nothing; edges have no credit and keep what comes',
      );
    }
  }
}
