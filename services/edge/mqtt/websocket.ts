/**
 * MQTT over WebSocket, on the edge's HTTP port: `/mqtt`, subprotocol `mqtt`. Packets and messages need not begin and end
 * together (MQTT 5, §6). uWebSockets.js cannot put off reading, so a device over its window is sent away.
 */
import type { HttpRequest, HttpResponse, TemplatedApp, us_socket_context_t, WebSocket } from '../../../shared/uws.js';
import { protectLongMessages } from '../../../shared/uws.js';
import type { Refused } from '../admission.js';
import { refuse } from '../http/refusal.js';
import type { Routes } from '../http/server.js';
import type { MqttContext } from './context.js';
import { Link } from './link.js';
import { UNREAD_BYTES, type Transport } from './transport.js';

/** The community build of uWebSockets.js copies the object's own fields, so it must be a plain one. */
interface UserData {
  readonly peer: { link?: Link; transport?: WebSocketTransport };
}

type Socket = WebSocket<UserData>;

const PATH = '/mqtt';
const SUBPROTOCOL = 'mqtt';
const IDLE_TIMEOUT_SECONDS = 120;
/** A message may hold several packets, each of which may be as long as EDGE_FRAME_LIMIT. */
const PACKETS_A_MESSAGE = 4;
/** What uWS's send returns where too much is unread already and the bytes are not sent. */
const DROPPED = 2;
const NORMAL_CLOSURE = 1000;
const UNSUPPORTED_DATA = 1003;

class WebSocketTransport implements Transport {
  readonly canPause = false;
  #socket: Socket | undefined;

  constructor(socket: Socket) {
    this.#socket = socket;
    protectLongMessages(socket);
  }

  get unreadBytes(): number {
    return this.#socket?.getBufferedAmount() ?? 0;
  }

  send(bytes: Buffer): boolean {
    if (this.#socket === undefined) return false;
    if (this.#socket.send(bytes, true) !== DROPPED) return true;
    this.destroy();
    return false;
  }

  pause(): void {
    throw new Error('a WebSocket cannot be paused');
  }

  resume(): void {
    throw new Error('a WebSocket cannot be paused');
  }

  end(): void {
    this.#leave()?.end(NORMAL_CLOSURE);
  }

  destroy(): void {
    this.#leave()?.close();
  }

  /** Nothing may be called on a socket after its close. */
  closed(): void {
    this.#socket = undefined;
  }

  #leave(): Socket | undefined {
    const socket = this.#socket;
    this.#socket = undefined;
    return socket;
  }
}

/** Connections at the door stay there for seconds. */
const SOON = { retryAfterSeconds: 5 };

/** An address of this machine, with a port or without: not a name, which a page may have made to mean this machine. */
const OWN_HOST = /^(localhost|\d{1,3}(\.\d{1,3}){3}|\[[0-9a-f:.]+\])(:\d+)?$/i;

/** True for what clients like paho send, that name the edge itself as their origin; no page of another site does. */
function isOwn(origin: string, host: string): boolean {
  return OWN_HOST.test(host) && (origin === `http://${host}` || origin === `https://${host}`);
}

export class MqttWebSocket implements Routes {
  constructor(
    private readonly origins: readonly string[],
    private readonly context: MqttContext,
  ) {}

  addTo(app: TemplatedApp): void {
    app.ws<UserData>(PATH, {
      maxPayloadLength: PACKETS_A_MESSAGE * this.context.options.frameBytes,
      maxBackpressure: UNREAD_BYTES,
      idleTimeout: IDLE_TIMEOUT_SECONDS,
      sendPingsAutomatically: true,
      upgrade: (response, request, context) => this.#upgrade(response, request, context),
      open: (socket) => {
        const { peer } = socket.getUserData();
        peer.transport = new WebSocketTransport(socket);
        peer.link = new Link(peer.transport, this.context);
      },
      message: (socket, message, isBinary) => {
        if (isBinary) socket.getUserData().peer.link!.data(Buffer.from(message));
        else socket.end(UNSUPPORTED_DATA, 'MQTT is binary');
      },
      close: (socket) => {
        const { peer } = socket.getUserData();
        peer.transport!.closed();
        peer.link!.closed();
      },
    });
  }

  #upgrade(response: HttpResponse, request: HttpRequest, context: us_socket_context_t): void {
    const refused = this.#refusalOf(request);
    if (refused !== undefined) {
      this.context.metrics.rejected.inc({ reason: refused.reason });
      refuse(response, refused);
      return;
    }
    const key = request.getHeader('sec-websocket-key');
    const extensions = request.getHeader('sec-websocket-extensions');
    response.upgrade<UserData>({ peer: {} }, key, SUBPROTOCOL, extensions, context);
  }

  #refusalOf(request: HttpRequest): Refused | undefined {
    const origin = request.getHeader('origin');
    if (origin !== '' && !this.origins.includes(origin) && !isOwn(origin, request.getHeader('host'))) {
      return { reason: 'origin', message: 'this Origin is not on the list of EDGE_ORIGINS' };
    }
    const offered = request.getHeader('sec-websocket-protocol').split(',');
    if (!offered.some((name) => name.trim() === SUBPROTOCOL)) {
      return { reason: 'subprotocol', message: `offer the subprotocol ${SUBPROTOCOL}` };
    }
    if (!this.context.door.isFull) return undefined;
    return { reason: 'max_devices', message: 'too many connections have not said yet who they are', ...SOON };
  }
}
