/**
 * What shadow has still to hear of this edge's devices: who came, who went, who opened another session, who asks.
 *
 * It is a set by device and not a list of messages, so that it never holds more than two entries a device however fast
 * they come and go, and nothing has to be dropped to bound it. What happened and was undone before it was sent is not
 * sent at all; a device that went and came back in the meantime is cancelled and subscribed anew, because shadow has to
 * hear of the new connection. A question goes after whatever is waiting of subscriptions: shadow answers to the topic,
 * and an answer to a topic that nobody has subscribed to is gone.
 */
import { cancellation, encodeQuestion, subscription } from '../../shared/downlink-frames.js';

/** 'renew' is a cancellation and a subscription. */
type Change = 'subscribe' | 'cancel' | 'renew';

export class Announcements {
  readonly #changes = new Map<string, Change>();
  readonly #questions = new Set<string>();
  #cursor = this.#changes.entries();

  /** How many devices something is still to be said of. */
  get waiting(): number {
    return this.#changes.size + this.#questions.size;
  }

  /** The device has opened a session; it had none. */
  came(deviceId: string): void {
    this.#changes.set(deviceId, this.#changes.has(deviceId) ? 'renew' : 'subscribe');
  }

  /** The device has opened another session while it had one. */
  cameAgain(deviceId: string): void {
    if (this.#changes.get(deviceId) !== 'subscribe') this.#changes.set(deviceId, 'renew');
    this.#questions.delete(deviceId);
  }

  /** The device has no session any more. */
  went(deviceId: string): void {
    // A subscription that was never sent needs no cancellation.
    if (this.#changes.get(deviceId) === 'subscribe') this.#changes.delete(deviceId);
    else this.#changes.set(deviceId, 'cancel');
    this.#questions.delete(deviceId);
  }

  /** The device, which is here, asks for its shadow. */
  asks(deviceId: string): void {
    this.#questions.add(deviceId);
  }

  /** Takes out the frames to send next, all of one device; undefined: nothing is waiting. */
  next(): readonly Buffer[] | undefined {
    const changed = this.#takeChange();
    if (changed !== undefined) return changed;
    for (const deviceId of this.#questions) {
      this.#questions.delete(deviceId);
      return [encodeQuestion(deviceId)];
    }
    return undefined;
  }

  /** One iterator goes on from change to change: a new one would have to pass over all that were taken out before. */
  #takeChange(): readonly Buffer[] | undefined {
    const { value } = this.#cursor.next();
    if (value === undefined) {
      this.#cursor = this.#changes.entries();
      return this.#changes.size > 0 ? this.#takeChange() : undefined;
    }
    const [deviceId, change] = value;
    this.#changes.delete(deviceId);
    if (change === 'subscribe') return [subscription(deviceId)];
    return change === 'cancel' ? [cancellation(deviceId)] : [cancellation(deviceId), subscription(deviceId)];
  }
}
