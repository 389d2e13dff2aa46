/**
 * One engine as a device: its rows on their way, and the state that it reports and lets applications change.
 *
 *   health     100 at cycle 1, 0 at its last one, after which it failed; whole, reported whenever it changes
 *   throttle   its pace in percent of its interval's, 100 at the start; a desired one is taken. At 0 it stands still
 *   reboot     a command: it is away for two seconds and comes back at cycle 1
 *
 * A desired throttle that is no number from 0 to 100 is answered with the throttle that it has, which leaves the delta as
 * it is: who has set it sees that it is not taken.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { CommandRejected, type Device, type DeviceCommand } from '../../shared/device.js';
import { HoldfastError } from '../../shared/errors.js';
import type { Engine } from './engines.js';

/** What applications see of an engine. */
type EngineState = { readonly health?: number; readonly throttle?: number };

const FULL_THROTTLE = 100;
const REBOOT_MS = 2_000;
/** The longest that a timer waits. */
const MAX_WAIT_MS = 2 ** 31 - 1;

export class EngineDevice {
  #next = 0;
  #throttle = FULL_THROTTLE;
  /** What was reported last; undefined: nothing since it was switched on. */
  #health: number | undefined;
  #isOn = false;
  #sentMs = 0;
  #timer: NodeJS.Timeout | undefined;
  readonly #stopping = new AbortController();

  /** @param intervalMs between two records at full throttle */
  constructor(
    readonly engine: Engine,
    readonly device: Device,
    private readonly intervalMs: number,
  ) {
    device.onDelta((delta) => this.#takeDelta(delta));
    device.onCommand((command) => this.#obey(command));
  }

  start(delayMs: number): void {
    this.#timer = setTimeout(() => this.#switchOn(), delayMs);
  }

  /** Sends no more rows; a reboot that is under way is cut short. */
  stop(): void {
    this.#isOn = false;
    clearTimeout(this.#timer);
    this.#stopping.abort();
  }

  #switchOn(): void {
    this.device.connect();
    this.#isOn = true;
    this.#next = 0;
    this.#health = undefined;
    this.#reportHealth();
    if (this.#throttle > 0) this.#step();
  }

  /** Sends the next row. */
  #step(): void {
    this.#sentMs = performance.now();
    const { rows } = this.engine;
    this.#reportHealth();
    if (unlessFull(() => this.device.send(rows[this.#next]))) this.#next = (this.#next + 1) % rows.length;
    this.#wait();
  }

  /** Reports the health at the next row where it is another than was reported; the throttle goes with the first report. */
  #reportHealth(): void {
    const health = healthAt(this.#next, this.engine.rows.length);
    if (health === this.#health) return;
    const state: EngineState = this.#health === undefined ? { health, throttle: this.#throttle } : { health };
    if (unlessFull(() => this.device.report(state))) this.#health = health;
  }

  /** Waits for the next row at the pace of the throttle, counted from the last one. */
  #wait(): void {
    clearTimeout(this.#timer);
    if (!this.#isOn || this.#throttle === 0) return;
    const paceMs = (this.intervalMs * FULL_THROTTLE) / this.#throttle;
    const waitMs = Math.min(Math.max(0, this.#sentMs + paceMs - performance.now()), MAX_WAIT_MS);
    this.#timer = setTimeout(() => this.#step(), waitMs);
  }

  /** @returns what it has now, where a throttle is desired at all */
  #takeDelta(delta: unknown): EngineState | undefined {
    const { throttle } = delta as { readonly throttle?: unknown };
    if (throttle === undefined) return undefined;
    if (typeof throttle === 'number' && throttle >= 0 && throttle <= FULL_THROTTLE) {
      this.#throttle = throttle;
      this.#wait();
    }
    return { throttle: this.#throttle };
  }

  /** @throws CommandRejected */
  async #obey({ name }: DeviceCommand): Promise<{ readonly downMs: number }> {
    if (name !== 'reboot') throw new CommandRejected(`an engine knows the command reboot, and not ${name}`);
    const startedMs = performance.now();
    this.#isOn = false;
    clearTimeout(this.#timer);
    await this.device.disconnect();
    await sleep(REBOOT_MS, undefined, { signal: this.#stopping.signal }).catch(() => undefined);
    const downMs = Math.round(performance.now() - startedMs);
    if (!this.#stopping.signal.aborted) this.#switchOn();
    return { downMs };
  }
}

/** The share of its cycles that an engine has left at one of its rows, in percent, whole. */
export function healthAt(row: number, rows: number): number {
  return rows < 2 ? 100 : Math.round((100 * (rows - 1 - row)) / (rows - 1));
}

/** @returns false where the device's memory is full */
function unlessFull(work: () => void): boolean {
  try {
    work();
    return true;
  } catch (error) {
    if (error instanceof HoldfastError && error.code === 'buffer_full') return false;
    throw error;
  }
}
