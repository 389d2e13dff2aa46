/**
 * One connection of a load: a bare TCP socket that sends records from a shared block and counts what is acked. It costs
 * as little as it can, because it shares the machine with what is measured: one read buffer for all sockets, one write a
 * turn, no copy, nothing allocated a record. It fails loudly on an ack of what was not sent or that goes backwards.
 */
import { connect, type Socket } from 'node:net';
import type { Block } from './record-block.js';

/** Sockets read one after another, in one thread, so one buffer serves them all. */
const readBuffer = Buffer.alloc(64 * 1024);
const MAX_REST_BYTES = 64 * 1024;
const NOTHING = Buffer.alloc(0);

/** Told of newly acked records: the hot path of a load. */
export type OnAcked = (connection: LoadConnection, count: number) => void;

export abstract class LoadConnection {
  /** Records sent; the seq of the last one. */
  sent = 0;
  /** Records acked: all up to this seq. */
  acked = 0;
  protected readonly socket: Socket;
  readonly #block: Block;
  readonly #onAcked: OnAcked;
  #rest: Buffer = NOTHING;
  #closing = false;
  #ready: () => void = () => undefined;

  /** @param index from 0; connections of one load differ in it */
  constructor(
    readonly index: number,
    host: string,
    port: number,
    block: Block,
    onAcked: OnAcked,
  ) {
    this.#block = block;
    this.#onAcked = onAcked;
    const callback = (length: number): boolean => {
      this.#read(length);
      return true;
    };
    this.socket = connect({ host, port, noDelay: true, onread: { buffer: readBuffer, callback } });
    this.socket.on('connect', () => this.connected());
    this.socket.on('close', () => {
      if (!this.#closing)
        throw new Error(`connection ${index} was closed with ${this.sent - this.acked} unacked records`);
    });
  }

  /** Resolves when records can be sent. */
  whenReady(): Promise<void> {
    return new Promise((resolve) => (this.#ready = resolve));
  }

  /** Sends the next `count` records in as few writes as the block allows. */
  send(count: number): void {
    for (let left = count; left > 0;) {
      const now = Math.min(left, this.#block.capacity);
      const bytes = this.#block.fill(this.sent + 1, now);
      this.sent += now;
      left -= now;
      this.socket.write(bytes);
      if (this.socket.writableLength > 0) this.#block.renew();
    }
  }

  /** Closes the connection; what is unacked is no loss then. */
  close(): void {
    this.#closing = true;
    this.socket.destroy();
  }

  /** Called once the socket is connected. */
  protected abstract connected(): void;

  /**
   * Reads whole messages from `bytes[0..end)`.
   * @returns how many bytes they were; the rest comes again with what follows it
   */
  protected abstract consume(bytes: Buffer, end: number): number;

  protected ready(): void {
    this.#ready();
  }

  /** @throws Error on an ack that goes back, or of what was never sent */
  protected ackedThrough(seq: number): void {
    if (!(seq >= this.acked && seq <= this.sent)) {
      throw new Error(`connection ${this.index}: ack of ${seq}, where ${this.sent} are sent and ${this.acked} acked`);
    }
    this.acked = seq;
  }

  #read(length: number): void {
    const before = this.acked;
    if (this.#rest.length === 0) {
      const used = this.consume(readBuffer, length);
      if (used < length) this.#keep(readBuffer.subarray(used, length));
    } else {
      const bytes = Buffer.concat([this.#rest, readBuffer.subarray(0, length)]);
      const used = this.consume(bytes, bytes.length);
      this.#rest = NOTHING;
      if (used < bytes.length) this.#keep(bytes.subarray(used));
    }
    if (this.acked > before) this.#onAcked(this, this.acked - before);
  }

  #keep(rest: Buffer): void {
    if (rest.length > MAX_REST_BYTES)
      throw new Error(`connection ${this.index}: a message of over ${MAX_REST_BYTES} bytes`);
    this.#rest = Buffer.from(rest);
  }
}
