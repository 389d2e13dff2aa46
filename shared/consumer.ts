/**
 * The client side of a consumer: every batch of the router's queue, in order, without a gap, from where the consumer's own
 * durable position says.
 *
 *   live      batches come by PUB and follow each other: no question is asked
 *   fetching  a batch did not follow, the buffer was full, or the consumer starts behind: batches are fetched until what
 *             PUB brought meanwhile (the stash) joins on
 *
 * The buffer is bounded; when it is full, what PUB brings is let go and fetched later, so a slow consumer costs the router
 * nothing but its queue. A router that restarts shows by its epoch or by refusing: then ATTACH tells which queue it has.
 */
import { Dealer } from 'zeromq';
import { checkBatch, readBatchHeader } from './batch.js';
import { BatchBuffer } from './batch-buffer.js';
import { decodeReply, encodeAttach, encodeConsumerAck, encodeFetch, type Attached } from './consumer-frames.js';
import { ConsumerLog } from './consumer-log.js';
import type { Delivery, DeliverySource } from './delivery.js';
import { HoldfastError, messageOf } from './errors.js';
import type { Part } from './lifecycle.js';
import { RECEIVING_OPTIONS } from './links.js';
import type { Logger } from './log.js';
import { comparePositions, follows, START, type Position } from './position.js';
import { SendLoop } from './send-loop.js';
import { Signal } from './signal.js';
import { Subscription } from './subscription.js';

export type { Delivery, DeliverySource };

export interface ConsumerOptions {
  /** As in ROUTER_CONSUMERS. */
  readonly name: string;
  /** The router's consumer endpoint. */
  readonly fetch: string;
  /** The router's PUB endpoint. */
  readonly publish: string;
  readonly maxBufferBytes: number;
  /**
   * The consumer's own durable position in a queue it attached to.
   * @param cursor what the router knows to be acked; the consumer's own word counts
   */
  readonly resume: (queueId: string, cursor: Position) => Promise<Position>;
  readonly log: Logger;
}

const REPLY_TIMEOUT_MS = 5_000;
const RETRY_MS = 1_000;
const FETCH_BYTES = 4 * 1024 * 1024;
const STASH_BYTES = 8 * 1024 * 1024;
const REQUEST_BACKLOG_BYTES = 1024 * 1024;

export class Consumer implements Part, DeliverySource {
  readonly name = 'consumer';
  readonly #socket = new Dealer({ ...RECEIVING_OPTIONS, sendHighWaterMark: 64, receiveHighWaterMark: 4 });
  readonly #requests: SendLoop;
  readonly #subscription: Subscription;
  readonly #wake = new Signal();
  readonly #readable = new Signal();
  readonly #replied = new Signal();
  readonly #log: ConsumerLog;
  #attached: Attached | undefined;
  /** The queue that the buffer and the positions below belong to; empty before the first ATTACHED. */
  #queueId = '';
  #offered: Attached | undefined;
  #mode: 'live' | 'fetching' = 'fetching';
  /** The last batch that was put into the buffer, or where the consumer resumed. */
  #after = START;
  #acked = START;
  readonly #buffer = new BatchBuffer();
  /** What PUB brought while we fetched. */
  readonly #stash = new BatchBuffer();
  #request = 0;
  #fetchedRequest = 0;
  #disconnects = 0;
  #stopped = false;
  #loops: Promise<unknown> | undefined;

  constructor(private readonly options: ConsumerOptions) {
    this.#log = new ConsumerLog(options.log);
    this.#requests = new SendLoop(this.#socket, REQUEST_BACKLOG_BYTES, (error) => {
      if (!this.#stopped) this.#log.fault('warn', error.message, 'a request to the router was not sent');
    });
    // The router may be gone for good, or come back without our last ack: it hears from us as soon as it is there again.
    this.#socket.events.on('disconnect', () => this.#detach('the connection broke'));
    // An ATTACH that was sent just before the connection broke is lost with it: say it again, rather than wait in vain.
    this.#socket.events.on('handshake', () => this.#detach());
    this.#subscription = new Subscription({
      publish: options.publish,
      log: options.log,
      onBatch: (batch, position) => this.#takePublished(batch, position),
      onHead: (head) => this.#takeHead(head),
    });
  }

  /** True while the router knows this consumer. */
  get attached(): boolean {
    return this.#attached !== undefined;
  }

  async start(): Promise<void> {
    this.#socket.connect(this.options.fetch);
    await this.#subscription.start();
    this.#loops = Promise.all([this.#receive(), this.#run()]);
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    this.#requests.close();
    this.#socket.close();
    for (const signal of [this.#wake, this.#readable, this.#replied]) signal.fire();
    await this.#subscription.stop();
    await this.#loops;
  }

  async read(maxBytes: number): Promise<Delivery | undefined> {
    while (this.#buffer.length === 0 && !this.#stopped) await this.#readable.wait(RETRY_MS);
    if (this.#stopped) return undefined;
    const batches = this.#buffer.take(Math.max(1, maxBytes));
    if (this.#mode === 'fetching') this.#wake.fire();
    return { queueId: this.#queueId, batches, through: readBatchHeader(batches.at(-1)!).position };
  }

  ack(queueId: string, position: Position): void {
    if (queueId !== this.#queueId) return;
    this.#acked = position;
    if (this.attached) this.#requests.push([encodeConsumerAck(position)]);
  }

  #detach(why?: string): void {
    if (why !== undefined && !this.#stopped) this.#log.lost(why);
    this.#attached = undefined;
    this.#disconnects++;
    this.#wake.fire();
    this.#replied.fire();
  }

  async #receive(): Promise<void> {
    for await (const frames of this.#socket) {
      const [head, ...batches] = frames;
      const reply = head === undefined ? undefined : decodeReply(head);
      if (reply === undefined) {
        this.#log.fault('warn', 'it is no reply to a consumer', 'ignored a message of the router');
      } else if (reply.type === 'refused') {
        this.#log.refused(reply.reason);
        this.#attached = undefined;
        this.#wake.fire();
      } else if (reply.type === 'attached') {
        this.#offered = reply;
      } else {
        this.#takeFetched(reply.request, batches, reply.through);
      }
      this.#replied.fire();
    }
  }

  /** Attaches, and fetches whenever PUB alone does not do. */
  async #run(): Promise<void> {
    while (!this.#stopped) {
      if (this.#attached === undefined) await this.#attach();
      else if (this.#mode === 'fetching' && this.#buffer.bytes < this.options.maxBufferBytes) await this.#fetch();
      else await this.#wake.wait(RETRY_MS);
    }
  }

  async #attach(): Promise<void> {
    this.#offered = undefined;
    this.#requests.push([encodeAttach(this.options.name)]);
    const offered = await this.#reply(() => this.#offered);
    if (offered === undefined) return;
    if (offered.queueId !== this.#queueId && !(await this.#resume(offered))) return;
    this.#attached = offered;
    // A queue that was restored from a copy can be behind what we hold; it hears of our position when it is past it.
    const isKnown = comparePositions(this.#acked, offered.head) <= 0;
    if (isKnown && comparePositions(this.#acked, offered.cursor) > 0) this.ack(offered.queueId, this.#acked);
    this.#fetchFromNow();
    this.#log.attached(offered.queueId, this.#after);
  }

  async #resume(offered: Attached): Promise<boolean> {
    try {
      const resumed = await this.options.resume(offered.queueId, offered.cursor);
      this.#queueId = offered.queueId;
      this.#restart(resumed);
      return true;
    } catch (error) {
      this.#log.cannotResume(messageOf(error));
      await this.#wake.wait(RETRY_MS);
      return false;
    }
  }

  /** Starts over in a queue that is not the one before: nothing buffered belongs to it. */
  #restart(resumed: Position): void {
    this.#buffer.clear();
    this.#after = resumed;
    this.#acked = resumed;
    this.#stash.clear();
  }

  async #fetch(): Promise<void> {
    const request = ++this.#request;
    const room = this.options.maxBufferBytes - this.#buffer.bytes;
    this.#requests.push([encodeFetch({ request, after: this.#after, maxBytes: Math.min(FETCH_BYTES, room) })]);
    const answered = await this.#reply(() => (this.#fetchedRequest === request ? true : undefined));
    if (answered === undefined) this.#attached = undefined;
  }

  /** Waits until `pick` finds what a reply brought; undefined after a refusal, a disconnect, the stop, or too long. */
  async #reply<T>(pick: () => T | undefined): Promise<T | undefined> {
    const deadlineMs = performance.now() + REPLY_TIMEOUT_MS;
    const attached = this.#attached;
    const disconnects = this.#disconnects;
    for (let leftMs = REPLY_TIMEOUT_MS; leftMs > 0 && !this.#stopped; leftMs = deadlineMs - performance.now()) {
      const found = pick();
      if (found !== undefined) return found;
      if (attached !== this.#attached || disconnects !== this.#disconnects) return undefined;
      await this.#replied.wait(leftMs);
    }
    if (!this.#stopped) this.#log.silent();
    return undefined;
  }

  #takeFetched(request: number, batches: readonly Buffer[], through: Position): void {
    // A reply that came too late was asked for from another place.
    if (request !== this.#request || this.#attached === undefined) return;
    for (const batch of batches) {
      const position = this.#checked(batch);
      // As if there were no reply: after its timeout the consumer attaches and asks anew.
      if (position === undefined || comparePositions(position, this.#after) <= 0) return;
      this.#keep(batch, position);
    }
    this.#fetchedRequest = request;
    if (comparePositions(through, this.#after) > 0) this.#after = through;
    this.#joinStash();
    // Nothing was there and PUB brings nothing yet: wait for it to speak, it says where the head is.
    if (batches.length === 0) this.#mode = 'live';
  }

  #takePublished(batch: Buffer, position: Position): void {
    if (this.#attached === undefined || comparePositions(position, this.#after) <= 0) return;
    const fits = this.#buffer.bytes + batch.length <= this.options.maxBufferBytes;
    if (this.#mode === 'live' && fits && follows(position, this.#after)) {
      this.#keep(batch, position);
      return;
    }
    if (position.epoch !== this.#after.epoch) this.#attachAgainAt(position);
    this.#fetchFromNow();
    if (this.#stash.bytes + batch.length > STASH_BYTES) this.#stash.clear();
    this.#stash.push(batch);
  }

  #takeHead(head: Position): void {
    if (this.#attached !== undefined) this.#log.progress(head, this.#acked);
    if (this.#attached === undefined || comparePositions(head, this.#after) <= 0) return;
    this.#attachAgainAt(head);
    this.#fetchFromNow();
  }

  /** An epoch that is neither ours nor known from ATTACHED: the router was opened anew, perhaps with another queue. */
  #attachAgainAt(position: Position): void {
    if (position.epoch > (this.#attached?.head.epoch ?? 0) && position.epoch !== this.#after.epoch) {
      this.#attached = undefined;
    }
  }

  #fetchFromNow(): void {
    if (this.#mode === 'live') this.#stash.clear();
    this.#mode = 'fetching';
    this.#wake.fire();
  }

  /** Goes live where what PUB brought while we fetched follows what was fetched. */
  #joinStash(): void {
    for (const batch of this.#stash) {
      const { position } = readBatchHeader(batch);
      if (comparePositions(position, this.#after) <= 0) continue;
      const fits = this.#buffer.bytes + batch.length <= this.options.maxBufferBytes;
      if (!fits || !follows(position, this.#after)) break;
      this.#keep(batch, position);
      this.#mode = 'live';
    }
    if (this.#mode === 'live') this.#stash.clear();
  }

  #keep(batch: Buffer, position: Position): void {
    this.#buffer.push(batch);
    this.#after = position;
    this.#readable.fire();
  }

  #checked(batch: Buffer): Position | undefined {
    try {
      return checkBatch(batch).position;
    } catch (error) {
      if (!(error instanceof HoldfastError)) throw error;
      this.#log.fault('error', error.message, 'the router sent a damaged batch, it is fetched again');
      return undefined;
    }
  }
}
