/** Live in this process, a real ZeroMQ publisher in the router's place, and WebSocket clients that remember what they get. */
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { pino } from 'pino';
import { WebSocket, type ClientOptions } from 'ws';
import { Publisher } from 'zeromq';
import { readLiveConfig } from '../../services/live/config.js';
import { createLive, type Live } from '../../services/live/live.js';
import { BatchBuilder, Kind, stampBatch, type Kind as RecordKind } from '../../shared/batch.js';
import { BATCH_TOPIC, HEAD_TOPIC, encodePublished } from '../../shared/consumer-frames.js';
import { createRegistry, type Registry } from '../../shared/metrics.js';
import { encodePosition, type Position } from '../../shared/position.js';

export interface TestRecord {
  readonly device: string;
  readonly seq: number;
  readonly payload?: string | Buffer;
  readonly kind?: RecordKind;
}

/** The time of every record of a test. */
export const TIME_MS = 1_732_112_345_678;

/** The batch that holds these records. */
export function makeBatch(records: readonly TestRecord[], position: Position): Buffer {
  const builder = new BatchBuilder();
  for (const { device, seq, payload = `{"n":${seq}}`, kind = Kind.telemetry } of records) {
    const bytes = Buffer.from(payload);
    const fits = builder.add(kind, Buffer.from(device), seq, TIME_MS, TIME_MS, bytes, 0, bytes.length);
    if (!fits) throw new Error('the records do not fit one batch');
  }
  const batch = Buffer.from(builder.build());
  stampBatch(batch, position, TIME_MS);
  return batch;
}

/** A client that remembers every message. */
export class LiveClient {
  readonly messages: Record<string, unknown>[] = [];
  readonly texts: string[] = [];

  private constructor(readonly socket: WebSocket) {
    socket.on('message', (data: Buffer) => {
      this.texts.push(data.toString());
      this.messages.push(JSON.parse(data.toString()) as Record<string, unknown>);
    });
  }

  static async connect(
    url: string,
    protocols: readonly string[] = [],
    options: ClientOptions = {},
  ): Promise<LiveClient> {
    const socket = new WebSocket(url, [...protocols], options);
    const client = new LiveClient(socket);
    await once(socket, 'open');
    return client;
  }

  /** Sends a message; resolves once it was read, and everything that was sent to this client before that arrived. */
  async say(message: unknown): Promise<void> {
    this.socket.send(typeof message === 'string' ? message : JSON.stringify(message));
    await this.settle();
  }

  /** Resolves once everything that was sent to this client so far has arrived. */
  async settle(): Promise<void> {
    const pong = once(this.socket, 'pong');
    this.socket.ping();
    await pong;
  }

  /** The (device, seq) of the records that came, as `device:seq`. */
  get records(): string[] {
    return this.messages
      .filter((message) => 'seq' in message)
      .map(({ device, seq }) => `${String(device)}:${String(seq)}`);
  }

  async close(): Promise<void> {
    if (this.socket.readyState === WebSocket.CLOSED) return;
    const closed = once(this.socket, 'close');
    this.socket.terminate();
    await closed;
  }
}

export class TestLive {
  readonly #clients: LiveClient[] = [];
  #offset = 0;
  epoch = 1;

  private constructor(
    readonly live: Live,
    readonly registry: Registry,
    readonly publisher: Publisher,
  ) {}

  static async start(keys: Readonly<Record<string, string>> = {}): Promise<TestLive> {
    const publisher = new Publisher({ linger: 0, sendHighWaterMark: 1000 });
    await publisher.bind('tcp://127.0.0.1:0');
    const environment = { LIVE_LISTEN: '127.0.0.1:0', LIVE_ROUTER_PUBLISH: publisher.lastEndpoint!, ...keys };
    const registry = createRegistry('live');
    const live = createLive(readLiveConfig(environment), pino({ level: 'silent' }), registry, (error) => {
      throw error;
    });
    for (const part of live.parts) await part.start?.();
    const test = new TestLive(live, registry, publisher);
    while (!live.subscription.connected) {
      await test.publishHead();
      await sleep(5);
    }
    return test;
  }

  get url(): string {
    return `ws://127.0.0.1:${this.live.endpoint.port!}/v1/live`;
  }

  async connect(protocols: readonly string[] = [], options: ClientOptions = {}): Promise<LiveClient> {
    const client = await LiveClient.connect(this.url, protocols, options);
    this.#clients.push(client);
    return client;
  }

  /** Publishes records as the next batch. */
  async publish(records: readonly TestRecord[]): Promise<void> {
    const position = { epoch: this.epoch, offset: ++this.#offset };
    await this.publisher.send([BATCH_TOPIC, encodePublished(position, position), makeBatch(records, position)]);
  }

  async publishHead(): Promise<void> {
    await this.publisher.send([HEAD_TOPIC, encodePosition({ epoch: this.epoch, offset: this.#offset })]);
  }

  /** Lets positions pass as if batches had been published and lost. */
  lose(batches: number): void {
    this.#offset += batches;
  }

  /** Publishes records and waits until a client that wants everything has the last of them; then all have theirs. */
  async deliver(records: readonly TestRecord[], probe: LiveClient): Promise<void> {
    const end = { device: 'end', seq: this.#offset + 1_000_000 };
    await this.publish([...records, end]);
    while (!probe.records.includes(`end:${end.seq}`)) await once(probe.socket, 'message');
    for (const client of this.#clients) {
      if (client.socket.readyState === WebSocket.OPEN && !client.socket.isPaused) await client.settle();
    }
  }

  /** The sum of a metric over its labels. */
  async metric(name: string): Promise<number> {
    const metric = await this.registry.getSingleMetric(name)?.get();
    return metric?.values.reduce((sum, { value }) => sum + value, 0) ?? NaN;
  }

  async stop(): Promise<void> {
    for (const client of this.#clients) await client.close();
    for (const part of [...this.live.parts].reverse()) await part.stop?.();
    this.publisher.close();
  }
}
