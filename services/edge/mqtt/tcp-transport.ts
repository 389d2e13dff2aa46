/** MQTT over a TCP connection of node:net. */
import type { Socket } from 'node:net';
import { UNREAD_BYTES, type Transport } from './transport.js';

/** So much of what is held back to be one write is offered to the kernel all the same. */
const HELD_BACK_BYTES = 16 * 1024;
/** How long a device has to read its last packets and close, before it is cut off. */
const LINGER_MS = 2_000;

export class TcpTransport implements Transport {
  readonly canPause = true;
  #isEnded = false;
  #linger: NodeJS.Timeout | undefined;

  constructor(private readonly socket: Socket) {}

  get unreadBytes(): number {
    return this.socket.writableLength;
  }

  send(bytes: Buffer): boolean {
    const { socket } = this;
    if (this.#isEnded || socket.destroyed) return false;
    if (socket.writableLength > UNREAD_BYTES) {
      this.destroy();
      return false;
    }
    socket.write(bytes);
    if (socket.writableCorked > 0 && socket.writableLength > HELD_BACK_BYTES) {
      socket.uncork();
      socket.cork();
    }
    return true;
  }

  pause(): void {
    this.socket.pause();
  }

  resume(): void {
    this.socket.resume();
  }

  /**
   * Closed at once with bytes of the device unread, the kernel would send a reset, which can take our last packets from
   * the device. So what it still sends is read, and dropped, until it closes too or time is up.
   */
  end(): void {
    if (this.#isEnded || this.socket.destroyed) return;
    this.#isEnded = true;
    this.socket.removeAllListeners('data');
    this.socket.end();
    this.socket.resume();
    this.#linger = setTimeout(() => this.socket.destroy(), LINGER_MS);
  }

  destroy(): void {
    this.#isEnded = true;
    this.socket.destroy();
  }

  /** To be called once the socket is closed. */
  closed(): void {
    this.#isEnded = true;
    clearTimeout(this.#linger);
  }
}
