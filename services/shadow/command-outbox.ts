/**
 * What the downlink asks of commands: which may be sent, and that they were.
 *
 * A command is durably QUEUED before it is sent: what a device does must be known here after a crash. While the write of a
 * new command is under way the command is held back; once it is durable, whoever sends is told of its thing. Where the store
 * goes away in the middle of the write, the caller has heard of that long before the command is durable: it is then held
 * back until its thing is written, at which the engine says so (ThingsApi.onWritten).
 *
 * It becomes SENT after it was given to the downlink. A crash between the two leaves it QUEUED, and it is sent once more:
 * devices do an id once.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { HoldfastError } from '../../shared/errors.js';
import type { Logger } from '../../shared/log.js';
import { StateLog } from '../../shared/state-log.js';
import type { CommandView } from './api.js';
import { commandWrite, decodeCommand, isOpen, sentCommand } from './command.js';
import type { DownlinkMetrics } from './downlink-metrics.js';
import type { ThingsApi } from './things-api.js';

/** That a command was given to the downlink. */
export interface SentNote {
  readonly id: string;
  /** ms since 1970. */
  readonly atMs: number;
}

/** Commands in one change. */
const NOTES_A_CHANGE = 1_000;
const RETRY_MS = 500;

export class CommandOutbox {
  /** Commands whose first write is under way, by their things. */
  readonly #held = new Map<string, Set<string>>();
  readonly #closing = new AbortController();
  readonly #state: StateLog;
  #listener: ((things: readonly string[]) => void) | undefined;

  constructor(
    private readonly things: ThingsApi,
    private readonly retentionMs: number,
    private readonly metrics: DownlinkMetrics,
    log: Logger,
  ) {
    this.#state = new StateLog(log, 'writing');
    // Before whoever sends hears of it: listeners are called in their order.
    things.onWritten(({ id }) => this.#held.delete(id));
  }

  /** Sets who is told of things whose commands were held back and may be sent now. */
  listen(listener: (things: readonly string[]) => void): void {
    this.#listener = listener;
  }

  /** A command is being written for the first time, and must not be sent yet. */
  hold({ thing, id }: CommandView): void {
    const held = this.#held.get(thing);
    if (held === undefined) this.#held.set(thing, new Set([id]));
    else held.add(id);
  }

  /** These commands are durable. */
  release(commands: readonly CommandView[]): void {
    for (const { thing, id } of commands) {
      const held = this.#held.get(thing);
      held?.delete(id);
      if (held?.size === 0) this.#held.delete(thing);
    }
    this.#listener?.(commands.map(({ thing }) => thing));
  }

  isHeld(thing: string, id: string): boolean {
    return this.#held.get(thing)?.has(id) ?? false;
  }

  /**
   * The commands that may be sent at `nowMs`, in the order of the ids; undefined for one that may not: it is over, or its
   * time is.
   * @throws HoldfastError store (retry) while the store is away
   */
  async load(ids: readonly string[], nowMs: number): Promise<(CommandView | undefined)[]> {
    const values = await this.things.commands(ids);
    return values.map((value) => {
      const command = value === undefined ? undefined : decodeCommand(value);
      return command !== undefined && isOpen(command) && command.expiresAt > nowMs ? command : undefined;
    });
  }

  /** Writes down that commands were sent; resolves once that is durable, or the outbox is closed. */
  async sent(notes: readonly SentNote[]): Promise<void> {
    for (let start = 0; start < notes.length && !this.#closed;) {
      const step = notes.slice(start, start + NOTES_A_CHANGE);
      if (await this.#write(step)) start += step.length;
    }
  }

  /** Gives up what it waits for. */
  close(): void {
    this.#closing.abort();
  }

  get #closed(): boolean {
    return this.#closing.signal.aborted;
  }

  /** @returns false where the store was away, after a while */
  async #write(notes: readonly SentNote[]): Promise<boolean> {
    const ids = notes.map(({ id }) => id);
    try {
      await this.things.change([], ids, (_, values, put) => {
        for (const [index, value] of values.entries()) {
          // It may be gone: over, and kept no longer.
          if (value === undefined) continue;
          const before = decodeCommand(value);
          const after = sentCommand(before, notes[index]!.atMs);
          put(commandWrite(after, this.retentionMs));
          if (before.state !== after.state) this.metrics.commands.inc({ state: after.state });
        }
      });
      this.#state.enter('writing', 'info', {}, 'that commands were sent is written again');
      return true;
    } catch (error) {
      if (!(error instanceof HoldfastError) || !error.retry) throw error;
      const reason = error.message;
      if (!this.#closed)
        this.#state.enter('away', 'warn', { reason }, 'cannot write that commands were sent; it is tried again');
      // What ends the wait early is that the outbox is closed.
      await sleep(RETRY_MS, undefined, { signal: this.#closing.signal }).catch(() => undefined);
      return false;
    }
  }
}
