/**
 * An edge without a queue: a real WebSocket server that speaks the device protocol, remembers every record that reached it
 * and can be told to misbehave. For tests of the device client alone.
 */
import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Duplex } from 'node:stream';
import { WebSocketServer, type WebSocket } from 'ws';

export interface ReceivedRecord {
  readonly device: string;
  readonly kind: number;
  readonly seq: number;
  readonly timeMs: number;
  readonly payload: string;
}

export interface Refusal {
  readonly status: number;
  readonly headers?: Readonly<Record<string, string>>;
}

export interface WsEdgeOptions {
  readonly windowBytes?: number;
  /** The code of the error that a record gets; undefined: it is taken. */
  readonly errorFor?: (record: ReceivedRecord) => string | undefined;
  /** A longer message is refused as a whole, with an error that names no record. */
  readonly maxMessageBytes?: number;
  /** Called before the ack of a message; false: it is not sent. */
  readonly ackFor?: (seq: number) => boolean;
  /** The refusal of an upgrade. */
  readonly refusalFor?: (device: string, authorization: string | undefined) => Refusal | undefined;
  /** The answer to a device that asks for its shadow; undefined: the question is refused; 'silence': there is none. */
  readonly shadowFor?: (device: string) => object | null | undefined | 'silence';
  /** Called with every connection after its hello. */
  readonly onConnection?: (socket: WebSocket, device: string) => void;
}

const KINDS: Readonly<Record<string, number>> = { data: 1, report: 2, result: 3 };

export class WsEdge {
  /** Every record that arrived and was not refused, in order of arrival, resent ones as often as they came. */
  readonly received: ReceivedRecord[] = [];
  /** The sizes of the messages that arrived, bytes. */
  readonly messageBytes: number[] = [];
  connections = 0;
  /** How often devices have asked for their shadows. */
  questions = 0;
  refusals = 0;
  readonly #http: Server;
  readonly #sockets = new WebSocketServer({
    noServer: true,
    handleProtocols: (offered) => [...offered].find((name) => name.startsWith('holdfast.v1.')) ?? false,
  });

  private constructor(private readonly options: WsEdgeOptions) {
    this.#http = createServer((_, response) => response.writeHead(404).end());
    this.#http.on('upgrade', (request, socket: Duplex, head: Buffer) => {
      const device = (request.url ?? '').split('/').at(-1)!;
      const refusal = options.refusalFor?.(device, request.headers.authorization);
      if (refusal !== undefined) {
        this.refusals++;
        // Whoever is refused may reset the connection.
        socket.on('error', () => undefined);
        const headers = Object.entries(refusal.headers ?? {}).map(([name, value]) => `${name}: ${value}\r\n`);
        socket.end(
          `HTTP/1.1 ${refusal.status} No\r\n${headers.join('')}content-length: 0\r\nconnection: close\r\n\r\n`,
        );
        return;
      }
      this.#sockets.handleUpgrade(request, socket, head, (webSocket) => this.#serve(webSocket, device));
    });
  }

  static async start(options: WsEdgeOptions = {}, port = 0): Promise<WsEdge> {
    const edge = new WsEdge(options);
    edge.#http.listen(port, '127.0.0.1');
    await once(edge.#http, 'listening');
    return edge;
  }

  get port(): number {
    return (this.#http.address() as AddressInfo).port;
  }

  get url(): string {
    return `ws://127.0.0.1:${this.port}`;
  }

  /** Cuts every connection, as the death of the process would. */
  cut(): void {
    for (const socket of this.#sockets.clients) socket.terminate();
  }

  /** Closes every connection with a code and a reason. */
  closeAll(code: number, reason: string): void {
    for (const socket of this.#sockets.clients) socket.close(code, reason);
  }

  async stop(): Promise<void> {
    const closed = once(this.#http, 'close');
    this.#http.close();
    this.cut();
    await closed;
  }

  /** Sends a message to every device that is connected. */
  tell(type: number, number: number, value: unknown): void {
    for (const socket of this.#sockets.clients) sendDown(socket, type, number, value);
  }

  /** Resolves once every device has read what was sent to it, and what it said before that has arrived. */
  async settle(): Promise<void> {
    for (const socket of this.#sockets.clients) {
      const pong = once(socket, 'pong');
      socket.ping();
      await pong;
    }
  }

  #answer(socket: WebSocket, device: string, binary: boolean): void {
    this.questions++;
    const shadow = this.options.shadowFor?.(device);
    if (shadow === 'silence') return;
    if (shadow !== undefined) {
      sendDown(socket, 6, 0, shadow);
      return;
    }
    const error = { code: 'refused', message: 'no shadows here', get: 'shadow' };
    socket.send(binary ? encodeDown(2, 0, error) : JSON.stringify({ error }));
  }

  #serve(socket: WebSocket, device: string): void {
    this.connections++;
    const binary = socket.protocol === 'holdfast.v1.binary';
    const hello = { device, window: this.options.windowBytes ?? 1024 * 1024 };
    socket.send(binary ? encodeDown(5, 0, hello) : JSON.stringify({ hello }));
    socket.on('message', (data: Buffer) => {
      if (isQuestion(data, binary)) {
        this.#answer(socket, device, binary);
        return;
      }
      this.messageBytes.push(data.length);
      if (data.length > (this.options.maxMessageBytes ?? Infinity)) {
        const error = { code: 'too_large', message: `${data.length} bytes` };
        socket.send(binary ? encodeDown(2, 0, error) : JSON.stringify({ error }));
        return;
      }
      const records = binary ? decodeBinary(device, data) : decodeJson(device, data.toString());
      let last = 0;
      for (const record of records) {
        last = record.seq;
        const code = this.options.errorFor?.(record);
        if (code === undefined) {
          this.received.push(record);
          continue;
        }
        const error = { code, message: `record ${record.seq}` };
        socket.send(
          binary ? encodeDown(2, record.seq, error) : JSON.stringify({ error: { ...error, seq: record.seq } }),
        );
      }
      if (this.options.ackFor?.(last) ?? true) {
        socket.send(binary ? encodeDown(1, last) : JSON.stringify({ ack: last }));
      }
    });
    this.options.onConnection?.(socket, device);
  }
}

/** Sends a delta (3), a command (4) or a shadow (6) in the protocol of the connection. */
export function sendDown(socket: WebSocket, type: number, number: number, value: unknown): void {
  const json = { 3: { delta: value, version: number }, 4: { command: value }, 6: { shadow: value } }[type];
  socket.send(socket.protocol === 'holdfast.v1.binary' ? encodeDown(type, number, value) : JSON.stringify(json));
}

function isQuestion(data: Buffer, binary: boolean): boolean {
  const question = Buffer.from('140000000600000000000000000000000000000000000000', 'hex');
  return binary ? data.equals(question) : data.toString() === '{"get":"shadow"}';
}

/** A binary message to a device. */
export function encodeDown(type: number, number: number, value?: unknown): Buffer {
  const payload = value === undefined ? '' : JSON.stringify(value);
  const frame = Buffer.alloc(16 + Buffer.byteLength(payload));
  frame[0] = type;
  frame.writeDoubleLE(number, 8);
  frame.write(payload, 16);
  return frame;
}

function decodeBinary(device: string, data: Buffer): ReceivedRecord[] {
  const records: ReceivedRecord[] = [];
  for (let at = 0; at < data.length;) {
    const end = at + 4 + data.readUInt32LE(at);
    if (end > data.length || end < at + 24) throw new Error(`a frame at ${at} ends at ${end} of ${data.length}`);
    records.push({
      device,
      kind: data[at + 4]!,
      seq: data.readDoubleLE(at + 8),
      timeMs: data.readDoubleLE(at + 16),
      payload: data.toString('utf8', at + 24, end),
    });
    at = end;
  }
  return records;
}

function decodeJson(device: string, text: string): ReceivedRecord[] {
  const value = JSON.parse(text) as Record<string, unknown> | Record<string, unknown>[];
  return (Array.isArray(value) ? value : [value]).map((message) => {
    const key = Object.keys(KINDS).find((name) => name in message);
    if (key === undefined) throw new Error(`no record: ${text}`);
    const { seq, time } = message as { seq: number; time: number };
    return { device, kind: KINDS[key]!, seq, timeMs: time, payload: JSON.stringify(message[key]) };
  });
}
