/**
 * The question for the device's shadow: one is under way at a time, and whoever asks meanwhile gets its answer too. It is
 * no record, so nothing of it is kept: a connection that ends takes it along.
 */
import type { JsonObject } from '../device-frames.js';
import { HoldfastError } from '../errors.js';
import { Waiters } from './waiters.js';

const TIMEOUT_MS = 10_000;

export class ShadowQuestion {
  readonly #waiters = new Waiters<JsonObject | null>();
  #timer: NodeJS.Timeout | undefined;

  /** @param send sends the question */
  constructor(private readonly send: () => void) {}

  /**
   * @returns the shadow; null where the device has none
   * @throws HoldfastError shadow_away (retry) where no answer comes
   */
  ask(): Promise<JsonObject | null> {
    if (!this.#waiters.waiting) {
      this.#timer = setTimeout(() => this.fail(`no answer came within ${TIMEOUT_MS} ms`), TIMEOUT_MS);
      this.send();
    }
    return this.#waiters.wait();
  }

  answer(shadow: JsonObject | null): void {
    clearTimeout(this.#timer);
    this.#waiters.resolve(shadow);
  }

  fail(why: string): void {
    clearTimeout(this.#timer);
    this.#waiters.reject(shadowAway(why));
  }
}

/** The error of a question that nobody answers now. */
export function shadowAway(why: string): HoldfastError {
  return new HoldfastError('shadow_away', `the shadow cannot be had: ${why}; ask again later`, true);
}
