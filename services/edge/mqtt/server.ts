/**
 * The edge's MQTT port: TCP by node:net. (uWebSockets.js has no plain TCP for JavaScript.)
 */
import { createServer, type Server, type Socket } from 'node:net';
import { once } from 'node:events';
import type { Address } from '../../../shared/config.js';
import { HoldfastError, messageOf } from '../../../shared/errors.js';
import type { Part } from '../../../shared/lifecycle.js';
import type { MqttContext } from './context.js';
import { Link } from './link.js';
import { TcpTransport } from './tcp-transport.js';

const BACKLOG = 4_096;
/** After so long a silence the kernel asks whether the device is still there, for those that keep nothing alive. */
const PROBE_AFTER_MS = 120_000;

export class MqttServer implements Part {
  readonly name = 'MQTT server';
  readonly #server: Server;

  constructor(
    private readonly address: Address | 'off',
    private readonly context: MqttContext,
  ) {
    const options = { noDelay: true, keepAlive: true, keepAliveInitialDelay: PROBE_AFTER_MS };
    this.#server = createServer(options, (socket) => this.#accept(socket));
  }

  /** @throws HoldfastError listen_failed where the port is taken or the host is not this machine's */
  async start(): Promise<void> {
    if (this.address === 'off') return;
    const { host, port } = this.address;
    const listening = once(this.#server, 'listening');
    this.#server.listen({ host, port, backlog: BACKLOG });
    try {
      await listening;
    } catch (error) {
      throw new HoldfastError('listen_failed', `cannot listen on ${host}:${port}: ${messageOf(error)}`, true, error);
    }
  }

  /** Lets nobody new in, and sends those away who were not let in yet. */
  stop(): Promise<void> {
    this.#server.close();
    this.context.door.clear();
    return Promise.resolve();
  }

  #accept(socket: Socket): void {
    if (this.context.door.isFull) {
      this.context.metrics.rejected.inc({ reason: 'max_devices' });
      socket.destroy();
      return;
    }
    const transport = new TcpTransport(socket);
    const link = new Link(transport, this.context);
    socket.on('data', (chunk) => {
      // What one chunk brings is answered in one write.
      socket.cork();
      link.data(chunk);
      socket.uncork();
    });
    // The close event that follows says all there is to know.
    socket.on('error', () => undefined);
    socket.on('close', () => {
      transport.closed();
      link.closed();
    });
  }
}
