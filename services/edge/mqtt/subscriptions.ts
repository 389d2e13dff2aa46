/**
 * What a connection has subscribed to. Everything goes down with QoS 0: within a connection TCP loses nothing, and what a
 * broken one loses, deltas and commands, shadow sends again on the next.
 */
import { Reason, SUBSCRIPTION_FAILURE, type Reason as ReasonCode } from './reasons.js';
import { matches, rpcRequest, type DownTopics } from './topics.js';

/** Filters a connection may have; a device needs a handful. */
const MAX_FILTERS = 32;
/** Twice the longest name that anything is sent to; every message is held against every filter, so they must be short. */
const MAX_FILTER_CHARACTERS = 512;
const GRANTED = 0;

/** Where commands go, whatever their ids. */
const ANY_COMMAND = rpcRequest('0');

export class Subscriptions {
  readonly #filters = new Set<string>();

  constructor(private readonly topics: DownTopics) {}

  has(topic: string): boolean {
    for (const filter of this.#filters) if (matches(filter, topic)) return true;
    return false;
  }

  /** Whether the device listens for what shadow sends by itself: deltas, and commands. */
  get hearsShadow(): readonly [deltas: boolean, commands: boolean] {
    const { delta, awsDelta, attributes, commands } = this.topics;
    return [
      [delta, awsDelta, attributes].some((topic) => this.has(topic)),
      this.has(commands) || this.has(ANY_COMMAND),
    ];
  }

  /** @returns the reason code of 5: 0 where it is granted */
  add(filter: string): ReasonCode {
    if (filter.length > MAX_FILTER_CHARACTERS) return Reason.badFilter;
    const refusal = this.topics.refusalOf(filter);
    if (refusal !== undefined) return refusal[0];
    if (this.#filters.size >= MAX_FILTERS && !this.#filters.has(filter)) return Reason.quotaExceeded;
    this.#filters.add(filter);
    return GRANTED;
  }

  remove(filter: string): ReasonCode {
    return this.#filters.delete(filter) ? Reason.success : Reason.noSubscription;
  }
}

/** What a SUBACK of 3.1.1 says. */
export function returnCodeOf(reason: ReasonCode): number {
  return reason < 0x80 ? reason : SUBSCRIPTION_FAILURE;
}
