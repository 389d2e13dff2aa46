/** A router made of raw frames: it publishes and answers exactly what a test tells it to. */
import { randomUUID } from 'node:crypto';
import { Router, XPublisher } from 'zeromq';
import {
  BATCH_TOPIC,
  decodeRequest,
  encodeAttached,
  encodeConsumerRefused,
  encodeFetched,
  encodePublished,
  HEAD_TOPIC,
  type ConsumerRequest,
} from '../../shared/consumer-frames.js';
import { SOCKET_OPTIONS } from '../../shared/links.js';
import { encodePosition, START, type Position } from '../../shared/position.js';
import { makeStampedBatch } from './batches.js';
import { freePorts } from './processes.js';

const EPOCH = 1_000;
/** What an XPUB socket reads when somebody subscribes; the topic follows. */
const SUBSCRIBE = 1;

export function positionOf(offset: number): Position {
  return offset === 0 ? START : { epoch: EPOCH, offset };
}

/** A batch whose only record has its offset as seq. */
export function batchAt(offset: number, payloadBytes = 50): Buffer {
  return makeStampedBatch(positionOf(offset), [offset], payloadBytes);
}

export class FakeRouter {
  readonly queueId = randomUUID();
  readonly requests: ConsumerRequest[] = [];
  /** What a fetch after an offset is answered with; by default all up to `head`. */
  answer: (after: number) => readonly Buffer[] = (after) =>
    Array.from({ length: this.head - after }, (_, index) => batchAt(after + 1 + index));
  head = 0;
  /** It takes requests and says nothing. */
  isSilent = false;
  readonly #publisher = new XPublisher(SOCKET_OPTIONS);
  readonly #router = new Router(SOCKET_OPTIONS);
  #peer: Buffer | undefined;
  readonly #subscribed = new Set<string>();
  #serving: Promise<unknown> | undefined;

  private constructor(
    readonly publish: string,
    readonly consumers: string,
  ) {}

  static async start(): Promise<FakeRouter> {
    const [publish, consumers] = (await freePorts(2)).map((port) => `tcp://127.0.0.1:${port}`) as [string, string];
    const router = new FakeRouter(publish, consumers);
    await router.#publisher.bind(publish);
    await router.#router.bind(consumers);
    router.#serving = Promise.all([router.#serve(), router.#hearSubscriptions()]);
    return router;
  }

  /** True once a subscriber hears whatever is published. */
  get isHeard(): boolean {
    return this.#subscribed.has(BATCH_TOPIC) && this.#subscribed.has(HEAD_TOPIC);
  }

  async publishBatch(offset: number): Promise<void> {
    this.head = Math.max(this.head, offset);
    const position = positionOf(offset);
    await this.#publisher.send([BATCH_TOPIC, encodePublished(position, positionOf(this.head)), batchAt(offset)]);
  }

  async publishHead(): Promise<void> {
    await this.#publisher.send([HEAD_TOPIC, encodePosition(positionOf(this.head))]);
  }

  async refuse(reason: string): Promise<void> {
    await this.#router.send([this.#peer!, encodeConsumerRefused(reason)]);
  }

  /** A FETCHED that nobody asked for. */
  async sendFetched(request: number, ...batches: Buffer[]): Promise<void> {
    const head = positionOf(this.head);
    await this.#router.send([this.#peer!, encodeFetched({ request, through: head, head }), ...batches]);
  }

  count(type: ConsumerRequest['type']): number {
    return this.requests.filter((request) => request.type === type).length;
  }

  async stop(): Promise<void> {
    this.#publisher.close();
    this.#router.close();
    await this.#serving;
  }

  async #hearSubscriptions(): Promise<void> {
    for await (const [frame] of this.#publisher) {
      if (frame?.[0] === SUBSCRIBE) this.#subscribed.add(frame.toString('latin1', 1));
    }
  }

  async #serve(): Promise<void> {
    for await (const [identity, frame] of this.#router) {
      const request = decodeRequest(frame!);
      if (request === undefined) throw new Error('a consumer sent what is no request');
      this.requests.push(request);
      this.#peer = identity!;
      if (this.isSilent) continue;
      const head = positionOf(this.head);
      if (request.type === 'attach') {
        await this.#reply([identity!, encodeAttached({ queueId: this.queueId, cursor: START, head })]);
      } else if (request.type === 'fetch') {
        const batches = this.answer(request.after.offset);
        const through = batches.length === 0 ? request.after : head;
        await this.#reply([identity!, encodeFetched({ request: request.request, through, head }), ...batches]);
      }
    }
  }

  async #reply(frames: Buffer[]): Promise<void> {
    try {
      await this.#router.send(frames);
    } catch (error) {
      if (!this.#router.closed) throw error;
    }
  }
}
