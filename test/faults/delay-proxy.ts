/** A TCP proxy that brings every byte late, in both directions: a long line. Kernels here have no netem. */
import { once } from 'node:events';
import { connect, createServer, type Server, type Socket } from 'node:net';

export class DelayProxy {
  readonly #sockets = new Set<Socket>();

  private constructor(
    private readonly server: Server,
    private readonly targetPort: number,
    /** Changes for what comes from now on. */
    public delayMs: number,
  ) {
    server.on('connection', (client: Socket) => this.#serve(client));
  }

  /** Before a port of loopback. */
  static async start(targetPort: number, delayMs: number): Promise<DelayProxy> {
    const server = createServer();
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    return new DelayProxy(server, targetPort, delayMs);
  }

  get port(): number {
    const address = this.server.address();
    if (address === null || typeof address === 'string') throw new Error('a TCP server has a port');
    return address.port;
  }

  async stop(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    this.server.close();
    await once(this.server, 'close');
  }

  #serve(client: Socket): void {
    const target = connect(this.targetPort, '127.0.0.1');
    for (const [from, to] of [
      [client, target],
      [target, client],
    ] as const) {
      this.#sockets.add(from);
      // Timers of one delay fire in the order in which they were set.
      from.on('data', (bytes: Buffer) => setTimeout(() => to.writable && to.write(bytes), this.delayMs));
      from.on('error', () => undefined);
      from.on('close', () => {
        this.#sockets.delete(from);
        setTimeout(() => to.destroy(), this.delayMs);
      });
    }
  }
}
