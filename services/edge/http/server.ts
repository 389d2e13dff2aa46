/**
 * The edge's HTTP port, which everything that begins as an HTTP request shares. Whoever serves paths there adds its routes
 * before it listens; what nobody serves is 404.
 */
import type { Address } from '../../../shared/config.js';
import type { Part } from '../../../shared/lifecycle.js';
import { App, listen, type Listener, type TemplatedApp } from '../../../shared/uws.js';

/** What is served on some of the paths. */
export interface Routes {
  addTo(app: TemplatedApp): void;
}

export class HttpServer implements Part {
  readonly name = 'HTTP server';
  #listener: Listener | undefined;

  constructor(
    private readonly address: Address,
    private readonly routes: readonly Routes[],
  ) {}

  async start(): Promise<void> {
    const app = App();
    for (const routes of this.routes) routes.addTo(app);
    app.any('/*', (response) => {
      response.cork(() => {
        response.writeStatus('404 Not Found').writeHeader('Content-Type', 'text/plain');
        response.end('devices connect to /v1/devices/{id}\n');
      });
    });
    this.#listener = await listen(app, this.address);
  }

  /** Lets nobody new in. */
  stop(): Promise<void> {
    this.#listener?.close();
    return Promise.resolve();
  }
}
