/** A TCP proxy before a database that can cut a connection at a commit: before the server hears of it, or after it is done. */
import { createServer, connect, type Server, type Socket } from 'node:net';
import { once } from 'node:events';

/** `before`: the server never gets the commit. `after`: it has committed, but the client never learns. */
export type Cut = 'before' | 'after';

export class CutProxy {
  readonly #sockets = new Set<Socket>();
  #cut: Cut | undefined;
  #cuts = 0;

  private constructor(
    private readonly server: Server,
    private readonly target: URL,
    private readonly commit: string,
  ) {
    server.on('connection', (client: Socket) => this.#serve(client));
  }

  /**
   * @param target the URL of the database
   * @param commit what a commit is known by on the wire; PostgreSQL's where it is not given
   */
  static async start(target: string, commit = 'commit\0'): Promise<CutProxy> {
    const server = createServer();
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    return new CutProxy(server, new URL(target), commit);
  }

  /** The target's URL, by way of the proxy. */
  get url(): string {
    const address = this.server.address();
    if (address === null || typeof address === 'string') throw new Error('a TCP server has a port');
    const url = new URL(this.target);
    url.port = `${address.port}`;
    return url.href;
  }

  /** How many connections were cut. */
  get cuts(): number {
    return this.#cuts;
  }

  /** Cuts at the next commit. */
  arm(cut: Cut): void {
    this.#cut = cut;
  }

  async stop(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    this.server.close();
    await once(this.server, 'close');
  }

  #serve(client: Socket): void {
    const server = connect(Number(this.target.port), this.target.hostname);
    let silent = false;
    const end = (): void => {
      client.destroy();
      server.destroy();
    };
    for (const socket of [client, server]) {
      this.#sockets.add(socket);
      socket.on('error', end);
      socket.on('close', end);
    }
    client.on('data', (bytes) => {
      const cut = bytes.includes(this.commit) ? this.#cut : undefined;
      if (cut !== undefined) {
        this.#cut = undefined;
        this.#cuts++;
      }
      if (cut === 'before') {
        end();
        return;
      }
      silent ||= cut === 'after';
      server.write(bytes);
    });
    server.on('data', (bytes) => {
      if (silent) end();
      else client.write(bytes);
    });
  }
}
