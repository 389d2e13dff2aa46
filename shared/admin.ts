/**
 * The admin endpoint of a service: `/metrics` (Prometheus), `/healthz` (200 while the event loop turns) and `/readyz`
 * (503 until what the service needs is connected, with the list of what is missing).
 */
import { createServer, type Server, type ServerResponse } from 'node:http';
import { once } from 'node:events';
import type { Address } from './config.js';
import { HoldfastError, messageOf } from './errors.js';
import type { Part } from './lifecycle.js';
import type { Registry } from './metrics.js';

export class Admin implements Part {
  readonly name = 'admin endpoint';
  readonly #server: Server;

  /**
   * @param waitingFor what the service still needs before it can serve; empty: it is ready
   */
  constructor(
    private readonly address: Address,
    private readonly registry: Registry,
    private readonly waitingFor: () => readonly string[],
  ) {
    this.#server = createServer({ requestTimeout: 10_000, headersTimeout: 5_000 }, (request, response) => {
      if (request.method !== 'GET' && request.method !== 'HEAD') {
        reply(response, 405, 'text/plain', 'only GET and HEAD are served here\n');
        return;
      }
      this.#answer(request.url ?? '/', response).catch((error: unknown) => {
        reply(response, 500, 'text/plain', `${messageOf(error)}\n`);
      });
    });
    this.#server.maxConnections = 64;
  }

  /** @throws HoldfastError listen_failed */
  async start(): Promise<void> {
    try {
      this.#server.listen(this.address.port, this.address.host);
      await once(this.#server, 'listening');
    } catch (error) {
      const where = `${this.address.host}:${this.address.port}`;
      throw new HoldfastError('listen_failed', `cannot listen on ${where}: ${messageOf(error)}`, true, error);
    }
  }

  async stop(): Promise<void> {
    const closed = once(this.#server, 'close');
    this.#server.close();
    this.#server.closeAllConnections();
    await closed;
  }

  async #answer(url: string, response: ServerResponse): Promise<void> {
    switch (url.split('?', 1)[0] ?? '') {
      case '/metrics':
        reply(response, 200, this.registry.contentType, await this.registry.metrics());
        return;
      case '/healthz':
        reply(response, 200, 'application/json', '{"healthy":true}\n');
        return;
      case '/readyz': {
        const waiting = this.waitingFor();
        const body = JSON.stringify({ ready: waiting.length === 0, waiting });
        reply(response, waiting.length === 0 ? 200 : 503, 'application/json', `${body}\n`);
        return;
      }
      default:
        reply(response, 404, 'text/plain', 'there are /metrics, /healthz and /readyz here\n');
    }
  }
}

function reply(response: ServerResponse, status: number, type: string, body: string): void {
  response.writeHead(status, { 'content-type': type, 'content-length': Buffer.byteLength(body) });
  response.end(body);
}
