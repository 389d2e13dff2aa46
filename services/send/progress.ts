/** What `holdfast send` says while it works: one line that changes on a terminal, problems, and a summary. */
import type { Writable } from 'node:stream';

export interface Counts {
  read: number;
  sent: number;
  acked: number;
  /** By the edge. */
  refused: number;
  /** Lines that are no record. */
  bad: number;
}

const REFRESH_MS = 250;
const CLEAR_LINE = '\r\x1b[K';

export class Progress {
  readonly counts: Counts = { read: 0, sent: 0, acked: 0, refused: 0, bad: 0 };
  /** What is going on with the connection, where there is something to say. */
  state = 'connecting';
  readonly #startedMs = performance.now();
  readonly #timer: NodeJS.Timeout | undefined;

  /** @param isTerminal true: progress is shown while it goes on */
  constructor(
    private readonly out: Writable,
    private readonly isTerminal: boolean,
  ) {
    if (isTerminal) this.#timer = setInterval(() => out.write(`${CLEAR_LINE}${this.#describe()}`), REFRESH_MS);
  }

  /** A problem, on a line of its own. */
  tell(message: string): void {
    this.out.write(`${this.isTerminal ? CLEAR_LINE : ''}${message}\n`);
  }

  /** Ends with the summary. */
  finish(): void {
    clearInterval(this.#timer);
    this.state = '';
    this.tell(this.#describe());
  }

  #describe(): string {
    const { read, sent, acked, refused, bad } = this.counts;
    const seconds = (performance.now() - this.#startedMs) / 1000;
    const rate = Math.round(acked / Math.max(seconds, 0.001));
    const state = this.state === '' ? '' : ` (${this.state})`;
    const counts = `read ${read}, sent ${sent}, acked ${acked}, refused ${refused}, bad lines ${bad}`;
    return `${counts}, ${rate} records/s, ${seconds.toFixed(1)} s${state}`;
  }
}
