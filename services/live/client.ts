/**
 * One client: its socket, its subscriptions and what it has lost.
 *
 * A client that reads too slowly loses messages, and only it: while more than the limit waits in its socket, messages are
 * counted instead of sent. As soon as the socket has drained, `{"dropped":n}` says how many, before anything else.
 */
import type { WebSocket } from '../../shared/uws.js';
import type { LiveMetrics } from './metrics.js';
import type { RequestError, Topic } from './requests.js';

/** uWS copies the properties of a socket's data, so that a class instance has to be held by them. */
export interface ClientData {
  readonly client: Client;
}

export type ClientSocket = WebSocket<ClientData>;

/** What uWS's send returns where it dropped the message. */
const SEND_DROPPED = 2;

export class Client {
  readonly subscriptions: Readonly<Record<Topic, Set<string>>> = {
    devices: new Set(),
    types: new Set(),
    sites: new Set(),
  };
  all = false;
  /** The last record that was put into the outbox: one that matches several subscriptions goes out once. */
  lastRecord = 0;
  #socket: ClientSocket | undefined;
  #outbox: Buffer[] = [];
  #dropped = 0;

  /** @param limitBytes what may wait in the socket before messages are dropped */
  constructor(
    private readonly limitBytes: number,
    private readonly metrics: LiveMetrics,
  ) {}

  get subscriptionCount(): number {
    const { devices, types, sites } = this.subscriptions;
    return devices.size + types.size + sites.size;
  }

  /** True where a message is waiting for flush. */
  get hasMail(): boolean {
    return this.#outbox.length > 0;
  }

  opened(socket: ClientSocket): void {
    this.#socket = socket;
  }

  /** After this nothing touches the socket any more. */
  closed(): void {
    this.#socket = undefined;
    this.#outbox = [];
  }

  /** Puts a message up for the next flush; it may be shared with other clients. */
  put(message: Buffer): void {
    this.#outbox.push(message);
  }

  /** Sends what was put up, in as few writes as it takes. */
  flush(): void {
    const messages = this.#outbox;
    this.#outbox = [];
    const socket = this.#socket;
    if (socket === undefined) return;
    let sent = 0;
    socket.cork(() => {
      for (const message of messages) if (this.#deliver(socket, message)) sent++;
    });
    this.metrics.deliveries.inc(sent);
    this.metrics.dropped.inc(messages.length - sent);
  }

  /** The socket has room again. */
  drained(): void {
    if (this.#socket !== undefined && this.#dropped > 0) this.#tellDropped(this.#socket);
  }

  /** Answers a bad request; a client that does not read its answers gets none. */
  refuse(error: RequestError): void {
    const socket = this.#socket;
    if (socket === undefined || socket.getBufferedAmount() > this.limitBytes) return;
    socket.send(JSON.stringify({ error }));
  }

  /** Ends the connection: politely, or at once where the client does not read. */
  end(code: number, reason: string): void {
    const socket = this.#socket;
    if (socket === undefined) return;
    if (socket.getBufferedAmount() > 0) socket.close();
    else socket.end(code, reason);
  }

  #deliver(socket: ClientSocket, message: Buffer): boolean {
    const open = this.#dropped === 0 || this.#tellDropped(socket);
    const sent = open && socket.getBufferedAmount() <= this.limitBytes && socket.send(message) !== SEND_DROPPED;
    if (!sent) this.#dropped++;
    return sent;
  }

  /** @returns false while the socket is still too full */
  #tellDropped(socket: ClientSocket): boolean {
    // Half of the limit, so that a client at the brink is not told after every message.
    if (socket.getBufferedAmount() > this.limitBytes / 2) return false;
    if (socket.send(`{"dropped":${this.#dropped}}`) === SEND_DROPPED) return false;
    this.#dropped = 0;
    return true;
  }
}
