/**
 * Who says what happens to a fleet while it runs: a script, lines typed on a terminal, its duration, a signal. Whatever ends it
 * does so once; the second signal ends it without waiting for what is still on its way.
 */
import { createInterface } from 'node:readline';
import type { Readable } from 'node:stream';
import type { Fleet } from './fleet.js';
import { COMMANDS, parseCommand, type FleetCommand, type ScriptStep } from './script.js';

export interface ControlsOptions {
  readonly script: readonly ScriptStep[];
  readonly durationMs: number | undefined;
  /** Where commands are typed; undefined: nowhere. */
  readonly terminal: Readable | undefined;
  readonly say: (line: string) => void;
  readonly showStatus: () => void;
}

const SIGNALS = ['SIGTERM', 'SIGINT'] as const;

export class Controls {
  /** Aborted when no more records are to be made. */
  readonly quit = new AbortController();
  /** Aborted when nothing is to be waited for any more. */
  readonly now = new AbortController();
  readonly #timers: readonly NodeJS.Timeout[];
  readonly #lines: ReturnType<typeof createInterface> | undefined;
  readonly #onSignal = (): void => (this.quit.signal.aborted ? this.now : this.quit).abort();

  constructor(
    private readonly fleet: Fleet,
    private readonly options: ControlsOptions,
  ) {
    const { script, durationMs, terminal } = options;
    const afterStart = fleet.startMs - Date.now();
    this.#timers = [
      ...script.map(({ atMs, command }) => setTimeout(() => this.#obey(command), afterStart + atMs)),
      ...(durationMs === undefined ? [] : [setTimeout(() => this.quit.abort(), afterStart + durationMs)]),
    ];
    for (const signal of SIGNALS) process.on(signal, this.#onSignal);
    if (terminal === undefined) return;
    this.#lines = createInterface({ input: terminal });
    this.#lines.on('line', (line) => this.#typed(line.trim()));
  }

  stop(): void {
    for (const timer of this.#timers) clearTimeout(timer);
    for (const signal of SIGNALS) process.off(signal, this.#onSignal);
    this.#lines?.close();
  }

  #typed(word: string): void {
    if (word === '') return;
    const command = parseCommand(word);
    if (command === undefined) this.options.say(`${word}? Commands: ${COMMANDS.join(', ')}`);
    else this.#obey(command);
  }

  #obey(command: FleetCommand): void {
    switch (command) {
      case 'offline':
        this.options.say('offline: every connection is cut');
        this.fleet.offline();
        break;
      case 'online':
        this.options.say('online: every device comes back');
        this.fleet.online();
        break;
      case 'status':
        this.options.showStatus();
        break;
      case 'quit':
        this.quit.abort();
    }
  }
}
