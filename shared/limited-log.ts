/**
 * Lines that something outside decides how often to cause: a peer that is refused, a link that flaps. The first few are logged
 * at once; after that one comes every ten seconds, the newest, which says how many were left out. So a log stays readable, and
 * a disk does not fill, whatever a peer does, and the last word is always there.
 */
import type { Logger } from './log.js';

export type Level = 'info' | 'warn' | 'error';

/** Lines at once; one comes back every REFILL_MS. */
const BURST = 4;
const REFILL_MS = 10_000;

interface Line {
  readonly level: Level;
  readonly fields: Readonly<Record<string, unknown>>;
  readonly message: string;
}

export class LimitedLog {
  #left = BURST;
  #refilledMs = performance.now();
  #waiting: Line | undefined;
  #leftOut = 0;

  /** @param refillMs how long until a line comes back */
  constructor(
    private readonly log: Logger,
    private readonly refillMs: number = REFILL_MS,
  ) {}

  /** Logs a line, now or, as the newest of those that were held back, within ten seconds. */
  tell(level: Level, fields: Readonly<Record<string, unknown>>, message: string): void {
    const line = { level, fields, message };
    if (this.#waiting !== undefined) {
      this.#leftOut++;
      this.#waiting = line;
    } else if (this.#take()) {
      this.log[level](fields, message);
    } else {
      this.#waiting = line;
      // A process that has nothing else to do need not stay for a line.
      setTimeout(() => this.#tellWaiting(), this.refillMs).unref();
    }
  }

  #take(): boolean {
    const nowMs = performance.now();
    const refills = Math.floor((nowMs - this.#refilledMs) / this.refillMs);
    this.#left = Math.min(BURST, this.#left + refills);
    this.#refilledMs += refills * this.refillMs;
    if (this.#left === 0) return false;
    this.#left--;
    return true;
  }

  #tellWaiting(): void {
    const { level, fields, message } = this.#waiting!;
    this.#waiting = undefined;
    this.log[level]({ ...fields, ...(this.#leftOut > 0 ? { leftOut: this.#leftOut } : {}) }, message);
    this.#leftOut = 0;
    this.#take();
  }
}
