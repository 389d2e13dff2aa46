/**
 * Whether a thing is connected, as its edges tell it: `online` and `offline` records, which name the session.
 *
 * Edges forward at their own pace, and a half-open session at one edge can end minutes after the device has opened another
 * elsewhere. So an `offline` ends only the session that the last `online` named, whatever its time; and an `online` counts
 * unless a later one is known. Records without a session go by their time alone.
 */
export class Presence {
  connected = false;
  /** The last session that was opened. */
  session: string | undefined;
  /** When that was said, ms since 1970. */
  onlineMs = -Infinity;
  /** The newest time of what was taken. */
  changedMs = -Infinity;

  apply(online: boolean, timeMs: number, session: string | undefined): void {
    if (!this.#holds(online, timeMs, session)) return;
    this.connected = online;
    if (timeMs > this.changedMs) this.changedMs = timeMs;
    if (!online) return;
    this.onlineMs = timeMs;
    this.session = session;
  }

  #holds(online: boolean, timeMs: number, session: string | undefined): boolean {
    if (session === undefined || (this.session === undefined && this.changedMs !== -Infinity)) {
      return timeMs >= this.changedMs;
    }
    return online ? timeMs >= this.onlineMs : session === this.session || this.session === undefined;
  }
}
