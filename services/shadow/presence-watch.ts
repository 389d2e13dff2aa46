/**
 * Sets right what records cannot: an edge that is killed sends no `offline` for its devices.
 *
 * The downlink knows which devices are here. Where it and a thing's presence still disagree some time after the device came or
 * went, the downlink is believed: the records on their way have had their time, and a session that is named by nobody who is
 * alive ends with that. What happened while shadow itself was away is looked for once, after its start.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { HoldfastError, messageOf } from '../../shared/errors.js';
import type { Part } from '../../shared/lifecycle.js';
import type { Logger } from '../../shared/log.js';
import type { Connection } from './connection.js';
import type { Downlink } from './downlink.js';
import type { Store } from './store.js';
import type { Things } from './things.js';

export interface PresenceWatchOptions {
  readonly things: Things;
  readonly store: Store;
  readonly downlink: Pick<Downlink, 'find' | 'listen'>;
  readonly log: Logger;
  readonly onFailure: (error: unknown) => void;
  /** How long presence may disagree with the downlink; 30 s where it is not given. */
  readonly afterMs?: number;
}

const AFTER_MS = 30_000;
const STEP_MS = 1_000;
/** Things that are looked at in one step. */
const THINGS_A_STEP = 1_000;
/** Steps a second, while there is more to do. */
const PAUSE_MS = 50;

export class PresenceWatch implements Part {
  readonly name = 'presence watch';
  readonly #afterMs: number;
  /** When devices that came or went are looked at, in that order; performance.now. */
  readonly #due = new Map<string, number>();
  readonly #stopping = new AbortController();
  #running: Promise<void> | undefined;

  constructor(private readonly options: PresenceWatchOptions) {
    this.#afterMs = options.afterMs ?? AFTER_MS;
    options.downlink.listen({
      onArrival: ({ deviceId }: Connection) => this.#lookLater(deviceId),
      onDeparture: (deviceId) => this.#lookLater(deviceId),
    });
  }

  start(): Promise<void> {
    this.#running = this.#run().catch((error: unknown) => {
      if (!this.#stopping.signal.aborted) this.options.onFailure(error);
    });
    return Promise.resolve();
  }

  async stop(): Promise<void> {
    this.#stopping.abort();
    await this.#running;
  }

  #lookLater(deviceId: string): void {
    // Deleted first, so that the map stays in the order of what is due.
    this.#due.delete(deviceId);
    this.#due.set(deviceId, performance.now() + this.#afterMs);
  }

  async #run(): Promise<void> {
    // Edges connect and announce their devices within seconds of shadow's start.
    await this.#pause(this.#afterMs);
    await this.#patiently(() => this.#findForgotten());
    for (;;) {
      const ids = this.#takeDue();
      if (ids.length > 0) await this.#patiently(() => this.#setRight(ids));
      await this.#pause(ids.length === THINGS_A_STEP ? PAUSE_MS : Math.min(STEP_MS, this.#afterMs));
    }
  }

  /** Notes the things that were connected when shadow stopped and whose devices are not here. */
  async #findForgotten(): Promise<void> {
    const { store, downlink } = this.options;
    for (let after = ''; ;) {
      const listed = await store.list(after, THINGS_A_STEP);
      for (const { thing, entry } of listed) {
        if (entry.connected && downlink.find(thing) === undefined) this.#lookLater(thing);
      }
      if (listed.length < THINGS_A_STEP) return;
      after = listed.at(-1)!.thing;
      await this.#pause(PAUSE_MS);
    }
  }

  #takeDue(): string[] {
    const nowMs = performance.now();
    const ids: string[] = [];
    for (const [id, dueMs] of this.#due) {
      if (dueMs > nowMs || ids.length === THINGS_A_STEP) break;
      ids.push(id);
    }
    for (const id of ids) this.#due.delete(id);
    return ids;
  }

  async #setRight(ids: readonly string[]): Promise<void> {
    const { things, downlink } = this.options;
    await things.inMemory(ids, []);
    for (const id of ids) {
      const slot = things.find(id)!;
      const isHere = downlink.find(id) !== undefined;
      if (!slot.value.isKnown || slot.value.connected === isHere) continue;
      slot.value.applyPresence(isHere, Date.now(), undefined);
      things.touch(slot, false);
    }
  }

  /** Does it again while the store is away. */
  async #patiently(work: () => Promise<void>): Promise<void> {
    for (;;) {
      try {
        await work();
        return;
      } catch (error) {
        if (!(error instanceof HoldfastError && error.retry)) throw error;
        this.options.log.debug({ reason: messageOf(error) }, 'presence waits for the store');
        await this.#pause(STEP_MS);
      }
    }
  }

  async #pause(timeMs: number): Promise<void> {
    await sleep(timeMs, undefined, { signal: this.#stopping.signal });
  }
}
