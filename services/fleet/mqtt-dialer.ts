/** What the MQTT connections of a process share: where they go, what they send, one buffer to read into, and one keep alive. */
import type { ConnectionOwner, DeviceIdentity, Dialer, EdgeAddress, FleetConnection, RecordRun } from './connection.js';
import { MqttConnection } from './mqtt-connection.js';
import { KEEP_ALIVE_SECONDS, PUBLISH_HEAD_BYTES, writePublishHead } from './mqtt-packets.js';
import { makePayload } from './payload.js';
import { RecordMessages } from './record-messages.js';
import type { StreamDialer } from './stream-connection.js';

/** Several records are not longer than this together, which every edge takes; a single one may be. */
const PAYLOAD_BYTES = 64 * 1024;

export class MqttDialer implements Dialer, StreamDialer {
  readonly messages: RecordMessages;
  readonly readBuffer = Buffer.alloc(64 * 1024);
  readonly #connections = new Set<MqttConnection>();

  constructor(
    readonly edge: EdgeAddress,
    payloadBytes: number,
  ) {
    const layout = { headBytes: PUBLISH_HEAD_BYTES, maxRecordBytes: PAYLOAD_BYTES };
    this.messages = new RecordMessages('json', makePayload(payloadBytes), layout);
    // Who is quiet for one turn is pinged in the next: never later than the keep alive.
    setInterval(() => this.#keepAlive(), (KEEP_ALIVE_SECONDS * 1_000) / 2).unref();
  }

  dial(device: DeviceIdentity, owner: ConnectionOwner): FleetConnection {
    const connection = new MqttConnection(this, device, owner);
    this.#connections.add(connection);
    return connection;
  }

  /** A publish with the records of a run, in the buffer of `messages`. */
  publish(topic: string, packetId: number, run: RecordRun): Buffer {
    const { messages } = this;
    const end = messages.write(run);
    const start = writePublishHead(messages.buffer, PUBLISH_HEAD_BYTES, topic, packetId, end - PUBLISH_HEAD_BYTES);
    return messages.buffer.subarray(start, end);
  }

  #keepAlive(): void {
    for (const connection of this.#connections) {
      if (connection.isGone) this.#connections.delete(connection);
      else connection.keepAlive();
    }
  }
}
