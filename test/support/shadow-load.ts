/**
 * Devices that report and applications that set desired, while shadow comes and goes; and the history of it.
 *
 * An update of an application names the version that it read. Where its answer is lost with the process that was to give
 * it, the application reads again: either its value is there, or the version tells that it is not, and it asks again.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { Device } from '../../shared/device.js';
import type { ShadowClient, ShadowDocument } from './shadow-client.js';
import { ShadowHistory } from '../faults/history/shadow-fold.js';

export interface ShadowLoadOptions {
  readonly client: ShadowClient;
  readonly edgeUrl: string;
  readonly things: number;
}

const REPORT_INTERVAL_MS = 20;
const DESIRE_INTERVAL_MS = 10;
const RETRY_MS = 20;
const MINUTE_MS = 60_000;

export class ShadowLoad {
  readonly history = new ShadowHistory();
  readonly #devices: Device[];
  #over = false;
  #givenUp = false;
  #reports = 0;
  #updates = 0;

  constructor(private readonly options: ShadowLoadOptions) {
    this.#devices = Array.from({ length: options.things }, (_, index) => {
      const protocol = index % 2 === 0 ? 'json' : 'binary';
      return new Device({ url: options.edgeUrl, id: `load-${index + 1}`, protocol });
    });
  }

  get reports(): number {
    return this.#reports;
  }

  get updates(): number {
    return this.#updates;
  }

  /**
   * Loads until `work` is done; resolves once every record is acked and every update accepted. Where `work` fails, nobody
   * may be there to accept anything any more, and what is under way is given up.
   */
  async during(work: Promise<unknown>): Promise<void> {
    for (const device of this.#devices) device.connect();
    const running = this.#devices.flatMap((device) => [this.#report(device), this.#desire(device.id)]);
    try {
      await work;
      this.#over = true;
      await Promise.all(running);
    } finally {
      this.#over = true;
      this.#givenUp = true;
      await Promise.allSettled(running);
    }
    await Promise.all(this.#devices.map((device) => device.flushed()));
  }

  /** @returns what differs from the documents that must be there, one line each */
  async check(): Promise<string[]> {
    const { history } = this;
    const documents = await Promise.all(history.things.map((thing) => this.options.client.shadow(thing)));
    return history.things.flatMap((thing, index) => history.check(thing, documents[index]));
  }

  async close(): Promise<void> {
    await Promise.all(this.#devices.map((device) => device.close()));
  }

  /** Times are those of a slow clock: what is applied does not depend on when it is. */
  async #report(device: Device): Promise<void> {
    const startMs = Date.now() - MINUTE_MS;
    for (let n = 1; !this.#over; n++) {
      const time = startMs + n;
      const report = { n, [`k${n % 7}`]: n % 3 === 0 ? null : n, deep: { [`d${n % 3}`]: n % 5 } };
      device.send(report, { kind: 'report', time });
      this.history.reported(device.id, report, time);
      const data = { n, filler: 'x'.repeat(n % 50) };
      const seq = device.send(data, { time });
      this.history.sent(device.id, seq, time, data);
      this.#reports++;
      await sleep(REPORT_INTERVAL_MS);
    }
  }

  async #desire(thing: string): Promise<void> {
    for (let n = 1; !this.#over; n++) {
      const desired = { wanted: n, [`k${n % 7}`]: n % 4 === 0 ? null : n, deep: { d1: n % 5 } };
      this.history.desired(thing, desired, await this.#accepted(thing, desired));
      this.#updates++;
      await sleep(DESIRE_INTERVAL_MS);
    }
  }

  /** @returns when shadow accepted the update, by its clock */
  async #accepted(thing: string, desired: { readonly wanted: number }): Promise<number> {
    const { client } = this.options;
    while (!this.#givenUp) {
      try {
        const document = await client.shadow(thing);
        if (document?.state.desired?.['wanted'] === desired.wanted) return timeOf(document);
        const timeMs = document && (await this.#update(thing, desired, document.version));
        if (timeMs !== undefined) return timeMs;
      } catch (error) {
        if (!isAway(error)) throw error;
      }
      await sleep(RETRY_MS);
    }
    throw new Error(`the update of ${thing} was given up`);
  }

  /** @returns when shadow accepted the update; undefined: it did not. @throws what fetch does where nobody answers */
  async #update(thing: string, desired: unknown, version: number): Promise<number | undefined> {
    const { status, body } = await this.options.client.update(thing, { state: { desired }, version });
    if (status === 200) return timeOf(body as ShadowDocument);
    if (status === 409 || status === 503) return undefined;
    throw new Error(`an update was answered with ${status} ${JSON.stringify(body)}`);
  }
}

/** When `wanted` was set. */
function timeOf({ metadata }: Pick<ShadowDocument, 'metadata'>): number {
  return (metadata.desired!['wanted'] as { timestamp: number }).timestamp;
}

/** True for what fetch throws where nobody answers, or no longer. */
function isAway(error: unknown): boolean {
  return error instanceof TypeError || (error instanceof Error && error.name === 'TimeoutError');
}
