/**
 * The edge's HTTP port, which everything that begins as an HTTP request shares. Whoever serves paths there adds its routes
 * before it listens, and plain requests are offered to one server after the other; what nobody serves is 404.
 */
import type { Address } from '../../../shared/config.js';
import type { Part } from '../../../shared/lifecycle.js';
import {
  App,
  listen,
  type HttpRequest,
  type HttpResponse,
  type Listener,
  type TemplatedApp,
} from '../../../shared/uws.js';

/** What has routes of its own: WebSocket's upgrades. */
export interface Routes {
  addTo(app: TemplatedApp): void;
}

/** Who serves plain requests; not by routes, because the community build of uWebSockets.js matches no `:id` in a pattern. */
export interface Requests {
  /** Serves a request, or leaves it alone. @returns false where it is not this server's */
  serve(response: HttpResponse, request: HttpRequest): boolean;
}

export class HttpServer implements Part {
  readonly name = 'HTTP server';
  #listener: Listener | undefined;

  constructor(
    private readonly address: Address,
    private readonly routes: readonly Routes[],
    private readonly requests: readonly Requests[],
  ) {}

  async start(): Promise<void> {
    const app = App();
    for (const routes of this.routes) routes.addTo(app);
    app.any('/*', (response, request) => {
      if (!this.requests.some((server) => server.serve(response, request))) answerNotFound(response);
    });
    this.#listener = await listen(app, this.address);
  }

  /** Lets nobody new in. */
  stop(): Promise<void> {
    this.#listener?.close();
    return Promise.resolve();
  }
}

function answerNotFound(response: HttpResponse): void {
  response.cork(() => {
    response.writeStatus('404 Not Found').writeHeader('Content-Type', 'text/plain');
    response.end('devices connect to /v1/devices/{id}, or post records to /v1/devices/{id}/records\n');
  });
}
