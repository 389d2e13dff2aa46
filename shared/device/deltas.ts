/**
 * Does what deltas ask for, one after the other. A delta is all that differs, so while one is being done only the newest of
 * those that come meanwhile is kept: it says the rest. What the handler says is then reported; the shadow takes it off the
 * delta, and sends another only where something is left.
 */
import type { HoldfastError } from '../errors.js';
import { asDeviceError } from './failure.js';

/**
 * Does what a delta asks for. What it returns (or resolves to) is reported as the device's state; undefined: nothing is.
 * @param delta the attributes that are desired and not reported
 * @param version of the shadow
 */
export type DeltaHandler = (delta: unknown, version: number) => unknown;

interface Delta {
  readonly delta: unknown;
  readonly version: number;
}

export class Deltas {
  #handler: DeltaHandler | undefined;
  #next: Delta | undefined;
  #running = false;

  /**
   * @param report keeps a report; may throw
   * @param onError gets what the handler or the report has thrown; the cloud sends the delta again on the next connection
   */
  constructor(
    private readonly report: (state: unknown) => void,
    private readonly onError: (error: HoldfastError) => void,
  ) {}

  handle(handler: DeltaHandler): void {
    this.#handler = handler;
  }

  /** Does no delta any more. */
  close(): void {
    this.#handler = undefined;
    this.#next = undefined;
  }

  take(delta: unknown, version: number): void {
    if (this.#handler === undefined) return;
    this.#next = { delta, version };
    if (!this.#running) void this.#run(this.#handler);
  }

  async #run(handler: DeltaHandler): Promise<void> {
    this.#running = true;
    try {
      for (let next = this.#take(); next !== undefined; next = this.#take()) await this.#do(handler, next);
    } finally {
      this.#running = false;
    }
  }

  #take(): Delta | undefined {
    const next = this.#next;
    this.#next = undefined;
    return next;
  }

  async #do(handler: DeltaHandler, { delta, version }: Delta): Promise<void> {
    try {
      const state = await handler(delta, version);
      if (state !== undefined) this.report(state);
    } catch (error) {
      this.onError(asDeviceError(error, `the handler of delta ${version} has failed`));
    }
  }
}
