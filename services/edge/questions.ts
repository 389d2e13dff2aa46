/**
 * The questions for shadows that are under way: one a session at most, each answered or refused within ANSWER_TIMEOUT_MS.
 *
 * All wait equally long, so the one that was asked first is due first, and one timer does for all of them.
 */

/** Who asks: a device's session. */
export interface Asker {
  readonly deviceId: string;
  /** Its question will not be answered. */
  refuseQuestion(message: string): void;
}

export const ANSWER_TIMEOUT_MS = 5_000;
/** The timer fires no more often than this. */
const TIMER_STEP_MS = 20;

export class Questions {
  /** When each is due, performance.now(); in the order in which they were asked. */
  readonly #dueMs = new Map<Asker, number>();
  #timer: NodeJS.Timeout | undefined;

  constructor(private readonly refuse: (asker: Asker, message: string) => void) {}

  /** @returns false where a question of this session is under way already: its answer will be the answer to both */
  ask(asker: Asker): boolean {
    if (this.#dueMs.has(asker)) return false;
    this.#dueMs.set(asker, performance.now() + ANSWER_TIMEOUT_MS);
    this.#timer ??= setTimeout(() => this.#expire(), ANSWER_TIMEOUT_MS);
    return true;
  }

  /** Takes a question off, because it is answered or its session gone. @returns false where none was under way */
  settle(asker: Asker): boolean {
    return this.#dueMs.delete(asker);
  }

  /** Refuses all that are under way. */
  refuseAll(message: string): void {
    const askers = [...this.#dueMs.keys()];
    this.close();
    for (const asker of askers) this.refuse(asker, message);
  }

  /** Forgets all that are under way. */
  close(): void {
    this.#dueMs.clear();
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }

  #expire(): void {
    this.#timer = undefined;
    const nowMs = performance.now();
    for (const [asker, dueMs] of this.#dueMs) {
      if (dueMs > nowMs) {
        this.#timer = setTimeout(() => this.#expire(), Math.max(dueMs - nowMs, TIMER_STEP_MS));
        return;
      }
      this.#dueMs.delete(asker);
      this.refuse(asker, `no answer came within ${ANSWER_TIMEOUT_MS} ms; ask again later`);
    }
  }
}
