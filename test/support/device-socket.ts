/**
 * A device as a test needs one: sends any bytes, right or wrong, and keeps every reply and how the session closed.
 * Records are encoded here, by hand, so that a test can also write what no honest client writes.
 */
import { once } from 'node:events';
import { get, type IncomingHttpHeaders, type IncomingMessage } from 'node:http';
import { connect, type Socket } from 'node:net';
import { WebSocket } from 'ws';
import { decodeDownFrame, decodeDownText, type DownMessage } from '../../shared/device-frames.js';
import { Changes } from './changes.js';

export interface DeviceSocketOptions {
  /** Offered subprotocols; none: JSON. */
  readonly protocols?: readonly string[];
  readonly headers?: Readonly<Record<string, string>>;
}

export interface Closed {
  readonly code: number;
  readonly reason: string;
}

export type ErrorReply = Extract<DownMessage, { readonly type: 'error' }>;

export const JSON_PROTOCOL = 'holdfast.v1.json';
export const BINARY_PROTOCOL = 'holdfast.v1.binary';

export class DeviceSocket {
  /** Every reply, in order, hello first. */
  readonly replies: DownMessage[] = [];
  readonly #changes = new Changes(() => this.replies);
  #closed: Closed | undefined;

  private constructor(private readonly socket: WebSocket) {
    socket.on('message', (message, isBinary) => {
      this.replies.push(isBinary ? decodeDownFrame(message as Buffer) : decodeDownText(message as Buffer));
      this.#changes.wake();
    });
    socket.on('close', (code, reason) => {
      this.#closed = { code, reason: reason.toString() };
      this.#changes.wake();
    });
    // The close event that follows says all that a test asks for.
    socket.on('error', () => undefined);
  }

  /** Connects, and waits for hello. @throws Error where the edge does not let the device in */
  static async open(port: number, deviceId: string, options: DeviceSocketOptions = {}): Promise<DeviceSocket> {
    const url = `ws://127.0.0.1:${port}/v1/devices/${deviceId}`;
    const socket = new WebSocket(url, [...(options.protocols ?? [])], {
      headers: options.headers,
      perMessageDeflate: false,
    });
    const device = new DeviceSocket(socket);
    await device.until(() => device.replies.length > 0);
    return device;
  }

  /** The subprotocol that the edge has answered with; empty: none. */
  get protocol(): string {
    return this.socket.protocol;
  }

  get errors(): ErrorReply[] {
    return this.replies.filter((reply) => reply.type === 'error');
  }

  /** The highest seq that was acked; 0: none. */
  get acked(): number {
    return this.replies.reduce((highest, reply) => (reply.type === 'ack' ? Math.max(highest, reply.seq) : highest), 0);
  }

  get isClosed(): boolean {
    return this.#closed !== undefined;
  }

  /** How the session has ended; undefined while it is open. */
  get closing(): Closed | undefined {
    return this.#closed;
  }

  /** Bytes that were sent and that the kernel has not taken. */
  get unsentBytes(): number {
    return this.socket.bufferedAmount;
  }

  /** Sends text as a text frame, bytes as a binary frame, and anything else as JSON. */
  send(frame: unknown): void {
    if (Buffer.isBuffer(frame)) this.socket.send(frame, { binary: true });
    else this.socket.send(typeof frame === 'string' ? frame : JSON.stringify(frame));
  }

  /** Sends bytes as a text frame, UTF-8 or not. */
  sendText(bytes: Buffer): void {
    this.socket.send(bytes, { binary: false });
  }

  /** Reads nothing more from the connection. */
  pause(): void {
    this.socket.pause();
  }

  resume(): void {
    this.socket.resume();
  }

  /**
   * Waits until `condition` holds, looking after every reply.
   * @throws Error where the session closes before, or nothing is heard for a long time
   */
  async until(condition: () => boolean): Promise<void> {
    while (!condition()) {
      if (this.#closed !== undefined) {
        throw new Error(`the session closed with ${this.#closed.code} "${this.#closed.reason}"`);
      }
      await this.#changes.next();
    }
  }

  async untilAcked(seq: number): Promise<void> {
    await this.until(() => this.acked >= seq);
  }

  /** Waits for the end of the session. */
  async closed(): Promise<Closed> {
    while (this.#closed === undefined) await this.#changes.next();
    return this.#closed;
  }

  async close(): Promise<Closed> {
    this.socket.close();
    return this.closed();
  }

  /** Breaks the connection without a word. */
  terminate(): void {
    this.socket.terminate();
  }
}

export interface BinaryRecord {
  readonly seq: number;
  readonly kind?: number;
  readonly time?: number;
  readonly payload?: string | Buffer;
  /** What the size field says, where that is not the truth. */
  readonly size?: number;
  /** The three bytes after the kind. */
  readonly reserved?: readonly [number, number, number];
}

/** A record of the binary protocol, byte for byte as it is described. */
export function binaryRecord({ seq, kind = 1, time = 0, payload = '{}', size, reserved }: BinaryRecord): Buffer {
  const body = Buffer.from(payload);
  const record = Buffer.alloc(24 + body.length);
  record.writeUInt32LE(size ?? 20 + body.length, 0);
  record.writeUInt8(kind, 4);
  record.set(reserved ?? [0, 0, 0], 5);
  record.writeDoubleLE(seq, 8);
  record.writeDoubleLE(time, 16);
  record.set(body, 24);
  return record;
}

/** A bare TCP connection to an edge, for bytes that no WebSocket client sends. */
export class RawSocket {
  /** What came back, byte for byte. */
  answer = '';
  readonly #socket: Socket;
  readonly #closed: Promise<void>;

  private constructor(port: number) {
    this.#socket = connect(port, '127.0.0.1');
    this.#socket.on('data', (chunk) => (this.answer += chunk.toString('latin1')));
    // A reset is one of the ways to be closed.
    this.#socket.on('error', () => undefined);
    this.#closed = new Promise((resolve) => this.#socket.once('close', () => resolve()));
  }

  static async open(port: number): Promise<RawSocket> {
    const raw = new RawSocket(port);
    await once(raw.#socket, 'connect');
    return raw;
  }

  write(bytes: string | Uint8Array): void {
    this.#socket.write(bytes);
  }

  /** Says that nothing more comes. */
  end(): void {
    this.#socket.end();
  }

  async closed(): Promise<void> {
    await this.#closed;
  }
}

/** An upgrade request as it goes over the wire. */
export function upgradeRequest(deviceId: string): string {
  const headers = Object.entries({ Host: 'edge', ...UPGRADE_HEADERS }).map(([name, value]) => `${name}: ${value}\r\n`);
  return `GET /v1/devices/${deviceId} HTTP/1.1\r\n${headers.join('')}\r\n`;
}

export interface HttpAnswer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
}

/** The headers of an upgrade request. */
export const UPGRADE_HEADERS: Readonly<Record<string, string>> = {
  Connection: 'Upgrade',
  Upgrade: 'websocket',
  'Sec-WebSocket-Version': '13',
  'Sec-WebSocket-Key': 'dGhlIHNhbXBsZSBub25jZQ==',
};

/** Asks for a path exactly as it is written; an upgrade that is let in answers 101 and is ended at once. */
export async function ask(port: number, path: string, headers: Readonly<Record<string, string>>): Promise<HttpAnswer> {
  const request = get({ host: '127.0.0.1', port, path, headers, agent: false });
  const answered = Promise.race([once(request, 'response'), once(request, 'upgrade')]);
  const [response] = (await answered) as [IncomingMessage];
  const status = response.statusCode ?? 0;
  if (status === 101) {
    request.destroy();
    return { status, headers: response.headers, body: '' };
  }
  let body = '';
  for await (const chunk of response.setEncoding('utf8')) body += chunk as string;
  return { status, headers: response.headers, body };
}
