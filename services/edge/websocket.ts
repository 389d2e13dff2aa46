/**
 * The WebSocket endpoint of the device protocol (`/v1/devices/{id}`), on uWebSockets.js: upgrades, sessions, frames.
 *
 * One session a device: the newest wins, the older is closed with 4409. A device whose replies pile up unread is
 * closed. Headers and messages are only read inside their callbacks.
 */
import type { Part } from '../../shared/lifecycle.js';
import type { Address } from '../../shared/config.js';
import { Kind } from '../../shared/batch.js';
import {
  App,
  listen,
  type HttpRequest,
  type HttpResponse,
  type Listener,
  type us_socket_context_t,
} from '../../shared/uws.js';
import type { Admission, Refused } from './admission.js';
import { readBinaryFrame, type BinaryLimits } from './binary-frames.js';
import { Connection, type Socket, type UserData } from './connection.js';
import type { Downlink } from './downlink.js';
import type { Ingest } from './ingest.js';
import { readJsonFrame } from './json-frames.js';
import type { EdgeMetrics } from './metrics.js';
import type { DeviceSession } from './session.js';
import { TurnClock } from './turn-clock.js';

export interface WebSocketOptions extends BinaryLimits {
  readonly listen: Address;
  readonly frameBytes: number;
  readonly windowBytes: number;
}

const TAKEN_OVER = 4409;
const MALFORMED = 1007;
const SERVICE_RESTART = 1012;
const RESTARTS = 'the edge restarts';
/** A frame up to this many times the limit is answered with too_large; uWS cuts the connection at a longer one. */
const FRAME_SLACK = 4;
const UNREAD_REPLY_BYTES = 64 * 1024;
const IDLE_TIMEOUT_SECONDS = 120;
const DEVICES_PATH = '/v1/devices/';

export class WebSocketEndpoint implements Part {
  readonly name = 'WebSocket endpoint';
  readonly #connections = new Map<string, Connection>();
  readonly #clock = new TurnClock();
  #listener: Listener | undefined;
  #stopping = false;

  constructor(
    private readonly options: WebSocketOptions,
    private readonly admission: Admission,
    private readonly ingest: Ingest,
    private readonly downlink: Downlink,
    private readonly metrics: EdgeMetrics,
  ) {}

  get devices(): number {
    return this.#connections.size;
  }

  /** The current session of a device. */
  find(deviceId: string): Connection | undefined {
    return this.#connections.get(deviceId);
  }

  async start(): Promise<void> {
    const app = App();
    app
      .ws<UserData>(`${DEVICES_PATH}*`, {
        maxPayloadLength: FRAME_SLACK * this.options.frameBytes,
        maxBackpressure: UNREAD_REPLY_BYTES,
        idleTimeout: IDLE_TIMEOUT_SECONDS,
        sendPingsAutomatically: true,
        upgrade: (response, request, context) => this.#upgrade(response, request, context),
        open: (socket) => this.#open(socket),
        message: (socket, message, isBinary) => this.#message(socket.getUserData().connection, message, isBinary),
        close: (socket) => this.#close(socket.getUserData().connection),
      })
      .any('/*', (response, request) => answerPlain(response, request));
    this.#listener = await listen(app, this.options.listen);
  }

  /**
   * Lets nobody new in, takes nothing more, and sends every device away once what was taken from it is acked. Taking must
   * end first: under load the ingest always has another group to commit.
   */
  async stop(): Promise<void> {
    this.#stopping = true;
    this.#listener?.close();
    for (const { session } of [...this.#connections.values()]) session.closeWhenAcked(SERVICE_RESTART, RESTARTS);
    await this.ingest.stop();
  }

  #upgrade(response: HttpResponse, request: HttpRequest, context: us_socket_context_t): void {
    const offered = request.getHeader('sec-websocket-protocol');
    if (this.#stopping) {
      // A connection that was accepted before the listener closed.
      refuse(response, { status: '503 Service Unavailable', reason: 'stopping', message: RESTARTS });
      return;
    }
    const admitted = this.admission.admit({
      // Not a `:id` in the pattern: the community build of uWebSockets.js matches none in a WebSocket route.
      id: request.getUrl().slice(DEVICES_PATH.length),
      origin: request.getHeader('origin'),
      authorization: request.getHeader('authorization'),
      offered,
    });
    if ('status' in admitted) {
      this.metrics.rejected.inc({ reason: admitted.reason });
      refuse(response, admitted);
      return;
    }
    const connection = new Connection(admitted.deviceId, admitted.protocol, this.metrics);
    const key = request.getHeader('sec-websocket-key');
    const extensions = request.getHeader('sec-websocket-extensions');
    response.upgrade<UserData>({ connection }, key, admitted.answer, extensions, context);
  }

  #open(socket: Socket): void {
    const { connection } = socket.getUserData();
    const { session } = connection;
    connection.socket = socket;
    const older = this.#connections.get(session.deviceId);
    this.#connections.set(session.deviceId, connection);
    this.metrics.connections.inc();
    if (older !== undefined) {
      this.metrics.takeOvers.inc();
      older.session.close(TAKEN_OVER, 'the device has opened another session');
    }
    connection.hello(this.options.windowBytes);
    this.#note(Kind.online, connection, { protocol: connection.protocol, session: connection.id });
    this.downlink.came(session.deviceId, older);
  }

  #close(connection: Connection): void {
    const { session } = connection;
    connection.socket = undefined;
    session.markClosed();
    // A device that was taken over is still there, in its newer session.
    if (this.#connections.get(session.deviceId) !== connection) return;
    this.#connections.delete(session.deviceId);
    this.#note(Kind.offline, connection, { session: connection.id });
    this.downlink.went(connection);
  }

  /** A record of the edge's own; by `session` a late offline is told from one of the connection that is there now. */
  #note(kind: Kind, { session }: Connection, payload: Readonly<Record<string, string>>): void {
    this.ingest.note(kind, session, Buffer.from(JSON.stringify(payload)));
  }

  #message(connection: Connection, message: ArrayBuffer, isBinary: boolean): void {
    const { session, isBinary: speaksBinary } = connection;
    if (!session.isTaking) return;
    const receivedMs = this.#clock.now();
    if (isBinary && speaksBinary && !this.options.validatePayloads) {
      if (this.ingest.takeFrame(session, new Uint8Array(message), receivedMs)) return;
    }
    const frame = Buffer.from(message);
    const { frameBytes } = this.options;
    if (frame.length > frameBytes) {
      const message = `the frame has ${frame.length} bytes; the limit is ${frameBytes}`;
      session.error('too_large', message, session.countUnread());
    } else if (isBinary !== speaksBinary) {
      const got = isBinary ? 'binary' : 'text';
      const message = `this session speaks holdfast.v1.${connection.protocol}; a ${got} frame is not for it`;
      session.error('refused', message, session.countUnread());
    } else if (isBinary) {
      this.#takeBinary(connection, frame, receivedMs);
    } else {
      this.#takeJson(connection, frame, receivedMs);
    }
  }

  #takeJson(connection: Connection, frame: Buffer, receivedMs: number): void {
    const { session } = connection;
    const { problem, asks } = readJsonFrame(
      frame,
      session,
      this.options,
      receivedMs,
      ({ kind, seq, timeMs, start, end }) =>
        this.ingest.take(session, kind, seq, timeMs, receivedMs, frame, start, end),
    );
    if (asks) this.downlink.ask(connection);
    if (problem !== undefined) refuseFrame(session, problem);
  }

  #takeBinary(connection: Connection, frame: Buffer, receivedMs: number): void {
    const { session } = connection;
    const { problem, asks } = readBinaryFrame(
      frame,
      session,
      this.options,
      receivedMs,
      (kind, seq, timeMs, start, end) => this.ingest.take(session, kind, seq, timeMs, receivedMs, frame, start, end),
    );
    if (asks) this.downlink.ask(connection);
    if (problem !== undefined) refuseFrame(session, problem);
  }
}

function refuseFrame(session: DeviceSession, problem: string): void {
  session.error('bad_record', `malformed frame: ${problem}`);
  session.closeWhenAcked(MALFORMED, 'malformed frame');
}

function refuse(response: HttpResponse, { status, message, retryAfterSeconds }: Refused): void {
  response.cork(() => {
    response.writeStatus(status);
    if (status.startsWith('401')) response.writeHeader('WWW-Authenticate', 'Bearer');
    if (retryAfterSeconds !== undefined) response.writeHeader('Retry-After', String(retryAfterSeconds));
    response.writeHeader('Content-Type', 'text/plain').end(`${message}\n`);
  });
}

function answerPlain(response: HttpResponse, request: HttpRequest): void {
  const isDevice = request.getUrl().startsWith(DEVICES_PATH);
  response.cork(() => {
    response.writeStatus(isDevice ? '426 Upgrade Required' : '404 Not Found');
    if (isDevice) response.writeHeader('Upgrade', 'websocket');
    response.writeHeader('Content-Type', 'text/plain');
    response.end(isDevice ? 'devices speak WebSocket here\n' : 'devices connect to /v1/devices/{id}\n');
  });
}
