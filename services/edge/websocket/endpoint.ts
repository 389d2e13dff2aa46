/**
 * The WebSocket endpoint of the device protocol (`/v1/devices/{id}`), on uWebSockets.js: upgrades and frames.
 *
 * A device whose replies pile up unread is closed. Headers and messages are only read inside their callbacks.
 */
import {
  dataOf,
  type HttpRequest,
  type HttpResponse,
  type TemplatedApp,
  type us_socket_context_t,
} from '../../../shared/uws.js';
import type { Admission } from '../admission.js';
import { readBinaryFrame, type BinaryLimits } from '../binary-frames.js';
import type { Downlink } from '../downlink.js';
import { refuse } from '../http/refusal.js';
import type { Requests, Routes } from '../http/server.js';
import type { Ingest } from '../ingest.js';
import { readJsonFrame } from '../json-frames.js';
import type { EdgeMetrics } from '../metrics.js';
import type { DeviceSession } from '../session.js';
import type { Sessions } from '../sessions.js';
import { TurnClock } from '../turn-clock.js';
import { Connection, type Socket, type UserData } from './connection.js';
import { admit } from './upgrade.js';

export interface WebSocketOptions extends BinaryLimits {
  readonly origins: readonly string[];
  readonly frameBytes: number;
  readonly windowBytes: number;
}

/** A frame up to this many times the limit is answered with too_large; uWS cuts the connection at a longer one. */
const FRAME_SLACK = 4;
const UNREAD_REPLY_BYTES = 64 * 1024;
const IDLE_TIMEOUT_SECONDS = 120;
const DEVICES_PATH = '/v1/devices/';

export class WebSocketEndpoint implements Routes, Requests {
  readonly #clock = new TurnClock();
  /** Whose frame came last: those of one read follow each other, and looking at a socket's object costs 2 % of a record. */
  #speaker: { readonly socket: Socket; readonly connection: Connection } | undefined;

  constructor(
    private readonly options: WebSocketOptions,
    private readonly admission: Admission,
    private readonly sessions: Sessions,
    private readonly ingest: Ingest,
    private readonly downlink: Downlink,
    private readonly metrics: EdgeMetrics,
  ) {}

  addTo(app: TemplatedApp): void {
    app.ws<UserData>(`${DEVICES_PATH}*`, {
      maxPayloadLength: FRAME_SLACK * this.options.frameBytes,
      maxBackpressure: UNREAD_REPLY_BYTES,
      idleTimeout: IDLE_TIMEOUT_SECONDS,
      sendPingsAutomatically: true,
      upgrade: (response, request, context) => this.#upgrade(response, request, context),
      open: (socket) => this.#open(socket),
      message: (socket, message, isBinary) => this.#message(this.#connectionOf(socket), message, isBinary),
      close: (socket) => this.#close(socket.getUserData().connection),
    });
  }

  /** What asks for no upgrade hears what is spoken here. */
  serve(response: HttpResponse, request: HttpRequest): boolean {
    if (!request.getUrl().startsWith(DEVICES_PATH)) return false;
    answerPlain(response);
    return true;
  }

  #upgrade(response: HttpResponse, request: HttpRequest, context: us_socket_context_t): void {
    const admitted = admit(
      {
        // Not a `:id` in the pattern: the community build of uWebSockets.js matches none in a WebSocket route.
        id: request.getUrl().slice(DEVICES_PATH.length),
        origin: request.getHeader('origin'),
        authorization: request.getHeader('authorization'),
        offered: request.getHeader('sec-websocket-protocol'),
      },
      this.options.origins,
      this.admission,
    );
    if ('reason' in admitted) {
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
    connection.socket = socket;
    connection.hello(this.options.windowBytes);
    this.sessions.opened(connection);
  }

  #close(connection: Connection): void {
    connection.socket = undefined;
    this.#speaker = undefined;
    this.sessions.closed(connection);
  }

  #connectionOf(socket: Socket): Connection {
    if (this.#speaker?.socket !== socket) this.#speaker = { socket, connection: dataOf(socket).connection };
    return this.#speaker.connection;
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
  session.closeWhenAcked({ why: 'malformed' });
}

function answerPlain(response: HttpResponse): void {
  response.cork(() => {
    response.writeStatus('426 Upgrade Required').writeHeader('Upgrade', 'websocket');
    response.writeHeader('Content-Type', 'text/plain').end('devices speak WebSocket here\n');
  });
}
