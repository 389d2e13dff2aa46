/** The WebSocket endpoint of live, `/v1/live`, on uWebSockets.js; a plain GET / says what this is. */
import type { Address } from '../../shared/config.js';
import type { Part } from '../../shared/lifecycle.js';
import {
  App,
  listen,
  protectLongMessages,
  type HttpRequest,
  type HttpResponse,
  type Listener,
  type us_socket_context_t,
} from '../../shared/uws.js';
import { admit, type AdmissionOptions, type Refused } from './admission.js';
import { Client, type ClientData, type ClientSocket } from './client.js';
import type { LiveMetrics } from './metrics.js';
import { readRequest } from './requests.js';
import type { Subscriptions } from './subscriptions.js';

export interface EndpointOptions extends AdmissionOptions {
  readonly listen: Address;
  readonly clientBufferBytes: number;
}

/** The longest message that a client may send: uWS cuts the connection at a longer one. */
const MAX_REQUEST_BYTES = 64 * 1024;
/** uWS drops by itself only so far above the limit at which we drop and count. */
const SLACK_BYTES = 16 * 1024 * 1024;
const IDLE_TIMEOUT_SECONDS = 60;
const RETRY_AFTER_SECONDS = 5;
const GOING_AWAY = 1001;
const ABOUT = `Holdfast live: connect a WebSocket to /v1/live and send {"subscribe":"*"}
or {"subscribe":{"devices":["engine-1"],"types":[],"sites":[]}}.
`;

export class LiveEndpoint implements Part {
  readonly name = 'live endpoint';
  readonly #clients = new Set<Client>();
  #listener: Listener | undefined;

  constructor(
    private readonly options: EndpointOptions,
    private readonly subscriptions: Subscriptions,
    private readonly metrics: LiveMetrics,
  ) {}

  get clients(): number {
    return this.#clients.size;
  }

  /** The port it listens on; undefined before start. */
  get port(): number | undefined {
    return this.#listener?.port;
  }

  /** @throws HoldfastError listen_failed */
  async start(): Promise<void> {
    const app = App();
    app
      .ws<ClientData>('/v1/live', {
        maxPayloadLength: MAX_REQUEST_BYTES,
        maxBackpressure: this.options.clientBufferBytes + SLACK_BYTES,
        idleTimeout: IDLE_TIMEOUT_SECONDS,
        sendPingsAutomatically: true,
        upgrade: (response, request, context) => this.#upgrade(response, request, context),
        open: (socket) => this.#open(socket),
        message: (socket, message) => this.#message(socket.getUserData().client, Buffer.from(message).toString('utf8')),
        drain: (socket) => socket.getUserData().client.drained(),
        close: (socket) => this.#close(socket.getUserData().client),
      })
      .get('/', (response) => answer(response, '200 OK', ABOUT))
      .any('/*', (response) => answer(response, '404 Not Found', ABOUT));
    this.#listener = await listen(app, this.options.listen);
  }

  stop(): Promise<void> {
    this.#listener?.close();
    for (const client of [...this.#clients]) client.end(GOING_AWAY, 'live stops');
    return Promise.resolve();
  }

  #upgrade(response: HttpResponse, request: HttpRequest, context: us_socket_context_t): void {
    const offered = request.getHeader('sec-websocket-protocol');
    const origin = request.getHeader('origin');
    const authorization = request.getHeader('authorization');
    const admitted = admit({ origin, authorization, offered }, this.options, this.#clients.size);
    if ('status' in admitted) {
      this.metrics.rejected.inc({ reason: admitted.reason });
      refuse(response, admitted);
      return;
    }
    const data: ClientData = { client: new Client(this.options.clientBufferBytes, this.metrics) };
    const key = request.getHeader('sec-websocket-key');
    const extensions = request.getHeader('sec-websocket-extensions');
    response.upgrade(data, key, admitted.answer, extensions, context);
  }

  #open(socket: ClientSocket): void {
    const { client } = socket.getUserData();
    protectLongMessages(socket);
    client.opened(socket);
    this.#clients.add(client);
  }

  #close(client: Client): void {
    client.closed();
    this.#clients.delete(client);
    this.subscriptions.remove(client);
  }

  #message(client: Client, text: string): void {
    const request = readRequest(text);
    const error = 'code' in request ? request : this.subscriptions.apply(client, request);
    if (error === undefined) return;
    this.metrics.rejected.inc({ reason: error.code });
    client.refuse(error);
  }
}

function refuse(response: HttpResponse, { status, message }: Refused): void {
  response.cork(() => {
    response.writeStatus(status);
    if (status.startsWith('401')) response.writeHeader('WWW-Authenticate', 'Bearer');
    if (status.startsWith('503')) response.writeHeader('Retry-After', String(RETRY_AFTER_SECONDS));
    response.writeHeader('Content-Type', 'text/plain').end(`${message}\n`);
  });
}

function answer(response: HttpResponse, status: string, body: string): void {
  response.cork(() => {
    response.writeStatus(status).writeHeader('Content-Type', 'text/plain; charset=utf-8').end(body);
  });
}
