/**
 * A UDP socket that reads and sends many datagrams a system call, through two blocks of memory that it has for all its life.
 *
 * One block is read in a turn of the event loop, so that a flood delays what else the edge does by 64 datagrams; the event
 * loop says again that there are more. Answers are collected and leave at the end of the turn, as a rule those of one commit
 * together. Where the network takes no more they wait in their block until it does. What then finds the block full is not sent
 * and counted, as happens at every full buffer on the way: the device sends its records again, and they are acked again.
 */
import koffi from 'koffi';
import type { Address } from '../../../shared/config.js';
import { Descriptor } from './descriptor.js';
import { MessageBlock } from './message-block.js';
import type { DatagramSocket, SocketOptions, SocketOwner, Source } from './socket.js';

/** About half a millisecond of the edge's work. More would gain little: 64 share the cost of a call already. */
const READ_AT_ONCE = 64;
/** What the kernel takes at most (UIO_MAXIOV). */
const SENT_AT_ONCE = 1_024;

interface Open {
  readonly descriptor: Descriptor;
  readonly received: MessageBlock;
  readonly toSend: MessageBlock;
}

export class LinuxSocket implements DatagramSocket {
  #open: Open | undefined;
  /** How many of `toSend` have left. */
  #sent = 0;
  #isFlushing = false;
  /** The network takes no more; the event loop says when it does. */
  #isBlocked = false;

  constructor(
    private readonly options: SocketOptions,
    private readonly owner: SocketOwner,
  ) {}

  async open(address: Address): Promise<number> {
    const { receiveBufferBytes, receivedBytes, sentBytes } = this.options;
    const descriptor = await Descriptor.open(address, receiveBufferBytes);
    const newBlock = (slots: number, bytes: number): MessageBlock =>
      new MessageBlock(slots, bytes, descriptor.addressBytes, (memory) => koffi.address(memory));
    // One byte more than is taken: what fills its slot is too long.
    const received = newBlock(READ_AT_ONCE, receivedBytes + 1);
    this.#open = { descriptor, received, toSend: newBlock(SENT_AT_ONCE, sentBytes) };
    this.#watch();
    return descriptor.port;
  }

  send(bytes: Buffer, to: Source): void {
    const { toSend } = this.#open!;
    if (toSend.count === SENT_AT_ONCE) {
      this.owner.onUnsent(1);
      return;
    }
    toSend.add(bytes, to);
    if (this.#isBlocked) return;
    if (toSend.count === SENT_AT_ONCE) this.#flush();
    else if (!this.#isFlushing) {
      this.#isFlushing = true;
      process.nextTick(this.#flushAtLast);
    }
  }

  dropped(): number | undefined {
    return this.#open?.descriptor.dropped();
  }

  close(): Promise<void> {
    if (this.#open === undefined) return Promise.resolve();
    this.#flush();
    const { descriptor, toSend } = this.#open;
    if (toSend.count > this.#sent) this.owner.onUnsent(toSend.count - this.#sent);
    this.#open = undefined;
    descriptor.close();
    return Promise.resolve();
  }

  #watch(): void {
    this.#open?.descriptor.watch(this.#isBlocked, this.#onReady, (error) => this.owner.onFailure(error));
  }

  readonly #onReady = (): void => {
    try {
      if (this.#isBlocked) this.#flush();
      this.#read();
    } catch (error) {
      this.owner.onFailure(error);
    }
  };

  #read(): void {
    const { descriptor, received } = this.#open!;
    received.count = descriptor.receive(received);
    if (received.count > 0) this.owner.onDatagrams(received);
  }

  readonly #flushAtLast = (): void => {
    this.#isFlushing = false;
    if (!this.#isBlocked) this.#flush();
  };

  /** Sends what waits, or as much of it as the network takes. */
  #flush(): void {
    if (this.#open === undefined) return;
    const { descriptor, toSend } = this.#open;
    let isFull = false;
    while (this.#sent < toSend.count && !isFull) {
      const result = descriptor.send(toSend, this.#sent);
      isFull = result === 'full';
      if (typeof result === 'number') this.#sent += result;
      else if (!isFull) this.#skip();
    }
    if (!isFull) this.#sent = toSend.count = 0;
    if (isFull === this.#isBlocked) return;
    this.#isBlocked = isFull;
    this.#watch();
  }

  /** The first that waits cannot be sent: nobody is there on the way to where it goes. */
  #skip(): void {
    this.#sent++;
    this.owner.onUnsent(1);
  }
}
