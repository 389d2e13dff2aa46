/**
 * What all connections of a fleet over TCP or TLS have in common: a bare socket, because tens of thousands of them share two
 * cores with the pipeline that they load; one read buffer for all; what is left of a message kept until the rest comes; and
 * an end that is told once.
 */
import { connect, type Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';
import { messageOf } from '../../shared/errors.js';
import type {
  ConnectionEnd,
  ConnectionOwner,
  DeviceIdentity,
  EdgeAddress,
  FleetConnection,
  RecordRun,
} from './connection.js';

const NOTHING = Buffer.alloc(0);
/** No edge may send a device away for longer. */
export const MAX_RETRY_AFTER_MS = 3_600_000;

/** What the stream connections of a process share. */
export interface StreamDialer {
  readonly edge: EdgeAddress;
  /** Sockets read one after another, in one thread. */
  readonly readBuffer: Buffer;
}

export abstract class StreamConnection implements FleetConnection {
  protected isOver = false;
  #socket: Socket;
  #rest: Buffer = NOTHING;

  constructor(
    private readonly streams: StreamDialer,
    protected readonly device: DeviceIdentity,
    protected readonly owner: ConnectionOwner,
  ) {
    this.#socket = this.#open();
  }

  abstract send(run: RecordRun): void;

  cut(): void {
    this.isOver = true;
    this.#drop();
  }

  close(): void {
    this.isOver = true;
    const goodbye = this.goodbye();
    if (goodbye === undefined || this.#socket.connecting) this.#drop();
    else this.#socket.end(goodbye);
  }

  /** The socket is connected. */
  protected abstract connected(): void;

  /**
   * Reads what came, `bytes[..end)`, valid during the call.
   * @returns how much of it was whole; the rest comes again with more behind it
   * @throws Error where it cannot be read: the connection ends
   */
  protected abstract consume(bytes: Buffer, end: number): number;

  /** What a device says when it is switched off; undefined: nothing now. */
  protected abstract goodbye(): Buffer | undefined;

  /** The edge has closed, or could not be reached. */
  protected lost(reason: string): void {
    this.fail(reason);
  }

  /** @returns false where the bytes are still to be read after it returned: the kernel has not taken them */
  protected write(bytes: Buffer | string): boolean {
    this.#socket.write(bytes);
    return this.#socket.writableLength === 0;
  }

  /** Connects anew, after `lost`. */
  protected reopen(): void {
    this.#rest = NOTHING;
    this.#socket = this.#open();
  }

  protected end(end: ConnectionEnd): void {
    if (this.isOver) return;
    this.isOver = true;
    this.#drop();
    this.owner.ended(end);
  }

  protected fail(reason: string): void {
    this.end({ reason, retryAfterMs: undefined, isRefused: false });
  }

  #open(): Socket {
    const { host, port, name, isSecure } = this.streams.edge;
    const { localAddress } = this.device;
    const options = {
      host,
      port,
      noDelay: true,
      onread: { buffer: this.streams.readBuffer, callback: (length: number) => this.#read(length) },
      ...(localAddress === undefined ? {} : { localAddress }),
    };
    const socket = isSecure ? connectTls({ ...options, servername: name }) : connect(options);
    let reason = 'the connection ended';
    socket.on(isSecure ? 'secureConnect' : 'connect', () => this.connected());
    socket.on('error', (error) => (reason = messageOf(error)));
    socket.on('close', () => {
      if (!this.isOver) this.lost(reason);
    });
    return socket;
  }

  /** RST and not FIN: otherwise the port would be kept in TIME_WAIT, of which a storm of reconnects has not enough. */
  #drop(): void {
    if (this.streams.edge.isSecure || this.#socket.connecting) this.#socket.destroy();
    else this.#socket.resetAndDestroy();
  }

  /** @returns true: go on reading */
  #read(length: number): boolean {
    if (this.isOver) return true;
    const isWhole = this.#rest.length === 0;
    const { readBuffer } = this.streams;
    const bytes = isWhole ? readBuffer : Buffer.concat([this.#rest, readBuffer.subarray(0, length)]);
    const end = isWhole ? length : bytes.length;
    try {
      const used = this.consume(bytes, end);
      this.#rest = used === end ? NOTHING : Buffer.from(bytes.subarray(used, end));
    } catch (error) {
      this.fail(messageOf(error));
    }
    return true;
  }
}
