/** MQTT over a TCP connection of node:net. */
import type { Socket } from 'node:net';
import { UNREAD_BYTES, type Transport } from './transport.js';

/** How long a device has to read its last packets and close, before it is cut off. */
const LINGER_MS = 2_000;

export class TcpTransport implements Transport {
  readonly canPause = true;
  #isEnded = false;
  #linger: NodeJS.Timeout | undefined;

  constructor(private readonly socket: Socket) {}

  send(bytes: Buffer): boolean {
    if (this.#isEnded || this.socket.destroyed) return false;
    this.socket.write(bytes);
    if (this.socket.writableLength <= UNREAD_BYTES) return true;
    this.destroy();
    return false;
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
