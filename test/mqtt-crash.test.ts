/**
 * The promise over MQTT, with real clients of both versions over TCP and WebSocket: what got a PUBACK is in the table exactly
 * once, and so is what was sent again for want of one, though the edge is killed with -9 between PUBLISH and PUBACK.
 */
import mqtt, { type MqttClient } from 'mqtt';
import t from 'tap';
import { Session } from '../shared/database.js';
import { messageOf } from '../shared/errors.js';
import { MQTT_WAYS } from './support/mqtt-carrier.js';
import { Pipeline } from './support/pipeline.js';
import { freePort } from './support/ports.js';
import { until } from './support/processes.js';

const KILLS = 3;
/**
 * Publishes of a client that wait for a PUBACK: some do whenever the edge is killed. More than the edge's Receive Maximum,
 * which clients like these do not keep to.
 */
const UNDER_WAY = 1_200;
/** 2026-01-01. */
const TIME_MS = 1_767_225_600_000;

/** A client that always has as many publishes under way, until it is told to end. */
class Publisher {
  readonly acked = new Set<number>();
  /** What the client has given back, because its connection broke before it had sent it. */
  givenBack = 0;
  sent = 0;
  #isOver = false;
  readonly #done: Promise<unknown>;

  constructor(
    readonly deviceId: string,
    private readonly client: MqttClient,
  ) {
    this.#done = Promise.all(Array.from({ length: UNDER_WAY }, () => this.#publish()));
  }

  static async connect(deviceId: string, url: string, protocolVersion: 4 | 5): Promise<Publisher> {
    const options = { protocolVersion, clientId: deviceId, clean: false, reconnectPeriod: 50 };
    return new Publisher(deviceId, await mqtt.connectAsync(url, options));
  }

  /** Waits until something was acked since now. */
  async untilAcked(): Promise<void> {
    const before = this.acked.size;
    await until(() => this.acked.size > before);
  }

  /** Sends nothing new, and waits until everything is acked. */
  async end(): Promise<void> {
    this.#isOver = true;
    await this.#done;
    await this.client.endAsync(true);
  }

  async #publish(): Promise<void> {
    while (!this.#isOver) {
      const seq = ++this.sent;
      const record = JSON.stringify({ seq, time: TIME_MS + seq, data: { seq } });
      try {
        await this.client.publishAsync(`holdfast/${this.deviceId}/telemetry`, record, { qos: 1 });
        this.acked.add(seq);
      } catch (error) {
        if (!/Connection closed/.test(messageOf(error))) throw error;
        this.givenBack++;
      }
    }
  }
}

await t.test('records are in the table exactly once through kill -9 of the edge before their PUBACKs', async (t) => {
  const port = await freePort();
  const pipeline = await Pipeline.start({ environment: { EDGE_MQTT_LISTEN: `127.0.0.1:${port}` } });
  try {
    const urls = { TCP: `mqtt://127.0.0.1:${port}`, WebSocket: new URL('/mqtt', pipeline.edgeUrl).href };
    const publishers: Publisher[] = [];
    for (const version of [4, 5] as const) {
      for (const way of MQTT_WAYS) {
        publishers.push(await Publisher.connect(`mqtt-${version}-${way}`, urls[way], version));
      }
    }
    for (let kill = 0; kill < KILLS; kill++) {
      await Promise.all(publishers.map((publisher) => publisher.untilAcked()));
      await pipeline.services.edge.end('SIGKILL');
      for (const { deviceId, sent, acked, givenBack } of publishers) {
        const unanswered = sent - acked.size - givenBack;
        t.ok(unanswered > 0, `${deviceId}: ${unanswered} unanswered`);
      }
      await pipeline.services.edge.start();
    }
    await Promise.all(publishers.map((publisher) => publisher.untilAcked()));
    await Promise.all(publishers.map((publisher) => publisher.end()));
    const session = await Session.open(pipeline.postgres.url, 'mqtt-crash');
    for (const { deviceId, acked } of publishers) {
      const rows = async (): Promise<number[]> => {
        const text = 'select seq::int from telemetry where device_id = $1';
        const found = await session.client.query<{ seq: number }>(text, [deviceId]);
        return found.rows.map(({ seq }) => seq);
      };
      await until(async () => {
        const stored = new Set(await rows());
        return [...acked].every((seq) => stored.has(seq));
      });
      const stored = await rows();
      t.equal(new Set(stored).size, stored.length, `${deviceId}: ${stored.length} rows, ${acked.size} acked`);
    }
    const dead = await session.client.query('select 1 from dead_letters');
    t.equal(dead.rows.length, 0);
    await session.close();
  } finally {
    await pipeline.stop();
  }
});
