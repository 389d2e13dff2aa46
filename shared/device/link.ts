/**
 * A device's link to its edge: one session after the other for as long as it is wanted, with the waits between them.
 *
 * A wait has full jitter between 0 and a doubling bound, plus what the edge asked for (close 1013 `retry-after:<ms>`,
 * Retry-After of 429 and 503). An edge that refuses the device for good (4xx) is asked again minutes later only. After
 * another session of the same device has taken over (4409) the link is not wanted any more.
 */
import type { DownMessage } from '../device-frames.js';
import { Backoff } from './backoff.js';
import type { DeviceSettings } from './options.js';
import { Session, type SessionEnd } from './session.js';
import { Waiters } from './waiters.js';

/** The close code by which an edge says that a newer session of the same device is served. */
export const TAKEN_OVER = 4409;
/** Between attempts at an edge that refuses this device: half of it to all of it. */
const REFUSED_WAIT_MS = 300_000;

export class Link {
  readonly #backoff: Backoff;
  readonly #ended = new Waiters();
  #wanted = false;
  #session: Session | undefined;
  #retry: NodeJS.Timeout | undefined;
  /** When the edge said hello, performance.now(); undefined while it has not, or the end has begun. */
  #openedMs: number | undefined;

  /**
   * @param onEnd called after the end of every session and every attempt; undefined: no other one will follow by itself
   */
  constructor(
    private readonly settings: DeviceSettings,
    private readonly token: string | undefined,
    private readonly onMessage: (message: DownMessage) => void,
    private readonly onEnd: (end: SessionEnd, retryInMs: number | undefined) => void,
  ) {
    this.#backoff = new Backoff(settings.minBackoffMs, settings.maxBackoffMs);
  }

  /** True between the edge's hello and the end of the session. */
  get open(): boolean {
    return this.#openedMs !== undefined;
  }

  /** Connects, and from then on connects again whenever a session ends. */
  connect(): void {
    this.#wanted = true;
    if (this.#session === undefined && this.#retry === undefined) this.#dial();
  }

  /** Ends the session, and stays away until connect(). Resolves once the session is over. */
  async disconnect(): Promise<void> {
    this.#wanted = false;
    this.#openedMs = undefined;
    clearTimeout(this.#retry);
    this.#retry = undefined;
    if (this.#session === undefined) return;
    const ended = this.#ended.wait();
    this.#session.close();
    await ended;
  }

  /** The edge has said hello. */
  opened(): void {
    if (this.#wanted) this.#openedMs = performance.now();
  }

  /** Records were settled: the edge is there, and the next wait begins small. */
  progress(): void {
    this.#backoff.reset();
  }

  send(message: Buffer): void {
    this.#session?.send(message);
  }

  /** Ends the session at once; the next one follows. */
  cut(): void {
    this.#openedMs = undefined;
    this.#session?.cut();
  }

  #dial(): void {
    this.#retry = undefined;
    const { url, protocol } = this.settings;
    this.#session = new Session({ url, protocol, token: this.token }, this.onMessage, (end) => this.#sessionEnded(end));
  }

  #sessionEnded(end: SessionEnd): void {
    const openMs = this.#openedMs === undefined ? 0 : performance.now() - this.#openedMs;
    if (openMs > this.settings.maxBackoffMs) this.#backoff.reset();
    this.#session = undefined;
    this.#openedMs = undefined;
    if (end.code === TAKEN_OVER) this.#wanted = false;
    const waitMs = this.#wanted ? this.#waitMs(end) : undefined;
    if (waitMs !== undefined) this.#retry = setTimeout(() => this.#dial(), waitMs);
    this.onEnd(end, waitMs);
    this.#ended.resolve();
  }

  #waitMs({ isRefused, retryAfterMs = 0 }: SessionEnd): number {
    const jitterMs = isRefused ? REFUSED_WAIT_MS * (0.5 + Math.random() / 2) : this.#backoff.next();
    return Math.round(retryAfterMs + jitterMs);
  }
}
