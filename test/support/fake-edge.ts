/** An edge made of raw frames: it says and sends exactly what a test tells it to. */
import { randomUUID } from 'node:crypto';
import { Dealer, type SocketOptions } from 'zeromq';
import {
  decodeStanding,
  encodeDataHeader,
  encodeHello,
  LinkType,
  SOCKET_OPTIONS,
  type Standing,
} from '../../shared/links.js';
import { START, type Position } from '../../shared/position.js';
import { makeStampedBatch } from './batches.js';

export type Reply =
  ({ readonly type: 'welcome' | 'ack' } & Standing) | { readonly type: 'refused'; readonly reason: string };

export class FakeEdge {
  readonly queueId: string;
  readonly #socket: Dealer;

  /** @param options of the socket, where they matter */
  constructor(endpoint: string, queueId: string = randomUUID(), options: SocketOptions<Dealer> = {}) {
    this.queueId = queueId;
    this.#socket = new Dealer({ ...SOCKET_OPTIONS, sendTimeout: 10_000, receiveTimeout: 10_000, ...options });
    this.#socket.connect(endpoint);
  }

  async hello(next: Position = START, shard = '0'): Promise<void> {
    await this.send([encodeHello({ queueId: this.queueId, next, shard })]);
  }

  /** Sends one batch with a record of `seq`, at its place in the edge's queue. */
  async data(position: Position, seq: number, previous: Position = before(position), payloadBytes = 50): Promise<void> {
    await this.send([encodeDataHeader(previous), makeStampedBatch(position, [seq], payloadBytes)]);
  }

  send(frames: Buffer[]): Promise<void> {
    return this.#socket.send(frames);
  }

  /** The router's next reply; rejects where none comes in 10 s. */
  async reply(): Promise<Reply> {
    const [frame] = await this.#socket.receive();
    if (frame === undefined) throw new Error('a reply without frames');
    if (frame[0] === LinkType.refused) return { type: 'refused', reason: frame.toString('utf8', 1) };
    const standing = decodeStanding(frame);
    if (standing === undefined) throw new Error(`the reply ${frame.toString('hex')} is none`);
    return { type: frame[0] === LinkType.welcome ? 'welcome' : 'ack', ...standing };
  }

  /** Takes replies until one says that everything through `offset` is stored. */
  async untilStored(offset: number): Promise<Reply> {
    for (;;) {
      const reply = await this.reply();
      if (reply.type === 'refused') throw new Error(reply.reason);
      if (reply.stored.offset >= offset) return reply;
    }
  }

  get closed(): boolean {
    return this.#socket.closed;
  }

  close(): void {
    this.#socket.close();
  }
}

/** The position right before, in the same open of the queue. */
function before({ epoch, offset }: Position): Position {
  return offset === 1 ? START : { epoch, offset: offset - 1 };
}
