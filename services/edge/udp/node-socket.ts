/** A UDP socket of Node's, which reads and sends one datagram a system call: for where LinuxSocket cannot be. */
import { createSocket, type RemoteInfo, type Socket } from 'node:dgram';
import { once } from 'node:events';
import { isIPv6 } from 'node:net';
import type { Address } from '../../../shared/config.js';
import type { DatagramSocket, SocketOptions, SocketOwner, Source } from './socket.js';
import { portOf } from './socket.js';

/** Where the text of an address stands in a Source. */
const TEXT_AT = 4;

export class NodeSocket implements DatagramSocket {
  #socket: Socket | undefined;
  /** Given to Node and not yet sent. */
  #sending = 0;
  #allSent: (() => void) | undefined;

  constructor(
    private readonly options: SocketOptions,
    private readonly owner: SocketOwner,
  ) {}

  async open({ host, port }: Address): Promise<number> {
    const type = isIPv6(host) ? 'udp6' : 'udp4';
    const socket = createSocket({ type, recvBufferSize: this.options.receiveBufferBytes });
    const listening = once(socket, 'listening');
    socket.bind({ address: host, port, exclusive: true });
    try {
      await listening;
    } catch (error) {
      socket.close();
      throw error;
    }
    socket.on('error', (error) => this.owner.onFailure(error));
    socket.on('message', this.#onMessage);
    this.#socket = socket;
    return socket.address().port;
  }

  send(bytes: Buffer, to: Source): void {
    this.#sending++;
    this.#socket!.send(Buffer.from(bytes), portOf(to), to.toString('latin1', TEXT_AT), this.#onSent);
  }

  /** Node does not say. */
  dropped(): undefined {
    return undefined;
  }

  async close(): Promise<void> {
    const socket = this.#socket;
    if (socket === undefined) return;
    this.#socket = undefined;
    socket.off('message', this.#onMessage);
    if (this.#sending > 0) await new Promise<void>((resolve) => (this.#allSent = resolve));
    const closed = once(socket, 'close');
    socket.close();
    await closed;
  }

  readonly #onMessage = (bytes: Buffer, from: RemoteInfo): void => {
    const [cut, source] = [bytes.subarray(0, this.options.receivedBytes + 1), sourceOf(from)];
    this.owner.onDatagrams({ count: 1, bytes: () => cut, source: () => source });
  };

  readonly #onSent = (error: Error | null): void => {
    this.#sending--;
    if (error !== null) this.owner.onUnsent(1);
    if (this.#sending === 0) this.#allSent?.();
  };
}

function sourceOf({ address, port }: RemoteInfo): Source {
  const source = Buffer.alloc(TEXT_AT + address.length);
  source.writeUInt16BE(port, 2);
  source.write(address, TEXT_AT, 'latin1');
  return source;
}
