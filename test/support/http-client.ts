/**
 * An HTTP client for tests: plain node:http, which sends what it is told (fetch leaves out some headers and bodies), and raw
 * connections for what is no HTTP at all.
 */
import { once } from 'node:events';
import { Agent, request, type IncomingHttpHeaders, type IncomingMessage } from 'node:http';
import { connect, type Socket } from 'node:net';

export interface Call {
  readonly method: string;
  /** With the query. */
  readonly path: string;
  readonly headers?: Readonly<Record<string, string | string[]>>;
  /** A value is sent as JSON with its Content-Type; text and bytes as they are. */
  readonly json?: unknown;
  readonly body?: string | Buffer | readonly (string | Buffer)[];
}

export interface Reply {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly text: string;
}

export class HttpClient {
  readonly #agent: Agent;

  constructor(
    readonly port: number,
    private readonly headers: Readonly<Record<string, string>> = {},
    maxSockets = 1,
  ) {
    this.#agent = new Agent({ keepAlive: true, maxSockets });
  }

  /** Sends a request; a list of pieces goes out in as many chunks, without a Content-Length. */
  async send(call: Call): Promise<Reply> {
    const { method, path } = call;
    const body = call.json === undefined ? call.body : JSON.stringify(call.json);
    const headers: Record<string, string | string[]> = { ...this.headers, ...call.headers };
    if (call.json !== undefined) headers['content-type'] ??= 'application/json';
    if (typeof body === 'string' || Buffer.isBuffer(body))
      headers['content-length'] ??= String(Buffer.byteLength(body));
    const sent = request({ host: '127.0.0.1', port: this.port, method, path, headers, agent: this.#agent });
    const answered = once(sent, 'response');
    if (typeof body === 'string' || Buffer.isBuffer(body)) {
      sent.end(body);
    } else {
      for (const piece of body ?? []) sent.write(piece);
      sent.end();
    }
    const [response] = (await answered) as [IncomingMessage];
    const text = Buffer.concat((await response.toArray()) as Buffer[]).toString('utf8');
    return { status: response.statusCode!, headers: response.headers, text };
  }

  close(): void {
    this.#agent.destroy();
  }
}

/** A connection whose bytes are the test's own. */
export class RawClient {
  #received = '';
  isClosed = false;
  /** Called at whatever happens. */
  #wake = (): void => undefined;

  private constructor(readonly socket: Socket) {
    socket.on('data', (bytes: Buffer) => {
      this.#received += bytes.toString('latin1');
      this.#wake();
    });
    socket.on('close', () => {
      this.isClosed = true;
      this.#wake();
    });
    // A reset is an end like any other here.
    socket.on('error', () => socket.destroy());
  }

  static async open(port: number): Promise<RawClient> {
    const socket = connect({ port, host: '127.0.0.1', noDelay: true });
    const client = new RawClient(socket);
    await once(socket, 'connect');
    return client;
  }

  get received(): string {
    return this.#received;
  }

  write(bytes: string | Buffer): void {
    if (!this.socket.destroyed) this.socket.write(bytes);
  }

  /** Waits until what was received satisfies, or the connection is closed. */
  async until(condition: (received: string) => boolean): Promise<void> {
    while (!condition(this.#received) && !this.isClosed) {
      await new Promise<void>((resolve) => (this.#wake = resolve));
    }
  }

  async closed(): Promise<void> {
    await this.until(() => false);
  }

  async end(): Promise<void> {
    this.socket.destroy();
    await this.closed();
  }
}
