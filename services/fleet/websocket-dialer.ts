/** What the WebSocket connections of a process share: where they go, what they send, and one buffer to read into. */
import { createHash, randomBytes } from 'node:crypto';
import type { ConnectionOwner, DeviceIdentity, Dialer, EdgeAddress, FleetConnection } from './connection.js';
import { makePayload } from './payload.js';
import { RecordFrames } from './record-frames.js';
import { WebSocketConnection } from './websocket-connection.js';

/** RFC 6455, 1.3. */
const ACCEPT_GUID = '258EAFA5-E914-47DA-95CA-C5AB0DC85B11';

export class WebSocketDialer implements Dialer {
  readonly frames: RecordFrames;
  /** Sockets read one after another, in one thread. */
  readonly readBuffer = Buffer.alloc(64 * 1024);
  /** What the edge has to answer to the key that all connections of this process send. */
  readonly accept: string;
  readonly #key = randomBytes(16).toString('base64');

  constructor(
    readonly edge: EdgeAddress,
    private readonly protocol: 'json' | 'binary',
    readonly payloadBytes: number,
  ) {
    this.frames = new RecordFrames(protocol, makePayload(payloadBytes));
    this.accept = createHash('sha1')
      .update(this.#key + ACCEPT_GUID)
      .digest('base64');
  }

  dial(device: DeviceIdentity, owner: ConnectionOwner): FleetConnection {
    return new WebSocketConnection(this, device, owner);
  }

  /** The upgrade request of a device. */
  request({ id, token }: DeviceIdentity): string {
    const { name, port } = this.edge;
    const lines = [
      `GET /v1/devices/${id} HTTP/1.1`,
      `Host: ${name}:${port}`,
      'Connection: Upgrade',
      'Upgrade: websocket',
      'Sec-WebSocket-Version: 13',
      `Sec-WebSocket-Key: ${this.#key}`,
      `Sec-WebSocket-Protocol: holdfast.v1.${this.protocol}`,
      ...(token === undefined ? [] : [`Authorization: Bearer ${token}`]),
    ];
    return `${lines.join('\r\n')}\r\n\r\n`;
  }
}
