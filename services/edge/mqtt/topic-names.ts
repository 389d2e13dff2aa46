/**
 * The topics that a connection has named lately, and the aliases it has given to some (MQTT 5, §3.3.2.3.4): what a topic
 * means is worked out once.
 */
import { TOPIC_ALIASES } from './connect.js';
import type { Publish } from './publish.js';
import { ProtocolError, Reason } from './reasons.js';
import { upTopic, type UpTopic } from './topics.js';

/** A device publishes to a handful; over this many they are forgotten all at once. */
const MAX_NAMES = 16;
/** A topic that is longer means nothing here. */
const MAX_NAME_BYTES = 1_024;

export class TopicNames {
  readonly #names = new Map<string, UpTopic>();
  readonly #aliases = new Map<number, UpTopic>();

  constructor(private readonly deviceId: string) {}

  /** @throws ProtocolError where an alias means nothing */
  topicOf({ topicStart, topicEnd, topicAlias }: Publish, bytes: Buffer): UpTopic {
    if (topicAlias > TOPIC_ALIASES) {
      throw new ProtocolError(Reason.badTopicAlias, `topic aliases go up to ${TOPIC_ALIASES}`);
    }
    if (topicStart === topicEnd) {
      const known = this.#aliases.get(topicAlias);
      if (known === undefined) throw new ProtocolError(Reason.protocolError, 'a publish names no topic');
      return known;
    }
    const topic = this.#named(bytes.toString('latin1', topicStart, Math.min(topicEnd, topicStart + MAX_NAME_BYTES)));
    if (topicAlias !== 0) this.#aliases.set(topicAlias, topic);
    return topic;
  }

  #named(name: string): UpTopic {
    let topic = this.#names.get(name);
    if (topic === undefined) {
      topic = upTopic(name, this.deviceId);
      if (this.#names.size >= MAX_NAMES) this.#names.clear();
      this.#names.set(name, topic);
    }
    return topic;
  }
}
