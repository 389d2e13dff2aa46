/** What the devices of tests wait with: for the next thing that is heard, and not for ever. */

/** A wait that hears nothing for this long has failed; far more than any answer takes. */
const SILENCE_TIMEOUT_MS = 20_000;

export class Changes {
  readonly #waiting = new Set<() => void>();

  /** @param heard what was heard so far, for the message of a wait that has failed */
  constructor(private readonly heard: () => readonly unknown[]) {}

  /** Waits for the next one. @throws Error where nothing is heard for a long time */
  async next(): Promise<void> {
    await new Promise<void>((resolve, reject) => {
      const timer = setTimeout(() => {
        reject(new Error(`nothing was heard; the last was ${JSON.stringify(this.heard().slice(-3))}`));
      }, SILENCE_TIMEOUT_MS);
      this.#waiting.add(() => {
        clearTimeout(timer);
        resolve();
      });
    });
  }

  /** Something was heard: all who wait go on. */
  wake(): void {
    for (const resolve of this.#waiting) resolve();
    this.#waiting.clear();
  }
}
