/** How far long work has got: one line that is written over and over on a terminal, and nothing elsewhere. */
import type { Writable } from 'node:stream';

const REFRESH_MS = 250;
const CLEAR_LINE = '\r\x1b[K';
const BAR_WIDTH = 24;

export class Progress {
  #doneBytes = 0;
  #state = '';
  readonly #startedMs = performance.now();
  readonly #timer: NodeJS.Timeout | undefined;
  #shownMs = 0;

  /**
   * @param totalBytes what there is to do, as far as is known
   * @param isTerminal false: nothing is shown
   */
  constructor(
    private readonly out: Writable,
    private readonly isTerminal: boolean,
    private readonly what: string,
    private readonly totalBytes: number,
  ) {
    // A timer, because work that waits should show why; advance() shows it too, because work may not let timers run.
    if (isTerminal) this.#timer = setInterval(() => this.#show(), REFRESH_MS).unref();
  }

  advance(bytes: number): void {
    this.#doneBytes += bytes;
    if (this.isTerminal && performance.now() - this.#shownMs > REFRESH_MS) this.#show();
  }

  /** What is waited for, where there is something to say. */
  tell(state: string): void {
    this.#state = state;
  }

  /** Clears the line. */
  finish(): void {
    clearInterval(this.#timer);
    if (this.isTerminal) this.out.write(CLEAR_LINE);
  }

  #show(): void {
    this.#shownMs = performance.now();
    const share = this.totalBytes === 0 ? 1 : Math.min(1, this.#doneBytes / this.totalBytes);
    const filled = Math.round(share * BAR_WIDTH);
    const bar = '#'.repeat(filled) + '.'.repeat(BAR_WIDTH - filled);
    const seconds = Math.max(0.001, (this.#shownMs - this.#startedMs) / 1000);
    const rate = `${formatMiB(this.#doneBytes / seconds)}/s`;
    const state = this.#state === '' ? '' : `, ${this.#state}`;
    const amount = `${formatMiB(this.#doneBytes)} of ${formatMiB(this.totalBytes)}`;
    this.out.write(`${CLEAR_LINE}${this.what} [${bar}] ${Math.floor(100 * share)} %, ${amount}, ${rate}${state}`);
  }
}

function formatMiB(bytes: number): string {
  return `${(bytes / 2 ** 20).toFixed(1)} MiB`;
}
