/** Where a fleet says how it goes: on a terminal one line that changes, elsewhere a line now and then. */
import type { Writable } from 'node:stream';

const CLEAR_LINE = '\r\x1b[K';
const TERMINAL_REFRESH_MS = 1_000;
const REFRESH_MS = 10_000;

export class Screen {
  #timer: NodeJS.Timeout | undefined;

  constructor(
    private readonly out: Writable,
    private readonly isTerminal: boolean,
  ) {}

  /** Shows what `status` says, again and again, until stop(). */
  start(status: () => string): void {
    const show = this.isTerminal ? () => this.out.write(CLEAR_LINE + status()) : () => this.say(status());
    this.#timer = setInterval(show, this.isTerminal ? TERMINAL_REFRESH_MS : REFRESH_MS);
  }

  /** Says something on a line of its own. */
  say(line: string): void {
    this.out.write(`${this.isTerminal ? CLEAR_LINE : ''}${line}\n`);
  }

  stop(): void {
    clearInterval(this.#timer);
    if (this.isTerminal) this.out.write(CLEAR_LINE);
  }
}
