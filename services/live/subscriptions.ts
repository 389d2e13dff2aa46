/** Who wants what: for every device, type and site that a client named, the clients; and those who want everything. */
import type { Context } from '../../shared/context.js';
import type { Client } from './client.js';
import { TOPICS, type Request, type RequestError, type Topic } from './requests.js';

type Index = Map<string, Set<Client>>;

export class Subscriptions {
  readonly #all = new Set<Client>();
  readonly #indexes: Readonly<Record<Topic, Index>> = { devices: new Map(), types: new Map(), sites: new Map() };

  /** @param maxPerClient names that one client may have subscribed */
  constructor(private readonly maxPerClient: number) {}

  get isEmpty(): boolean {
    return this.#all.size === 0 && TOPICS.every((topic) => this.#indexes[topic].size === 0);
  }

  /** Does what a client asks for, or nothing of it and says why. */
  apply(client: Client, request: Request): RequestError | undefined {
    if (request.action === 'unsubscribe') {
      if (request.all) this.remove(client);
      else for (const topic of TOPICS) for (const name of request.names[topic]) this.#leave(client, topic, name);
      return undefined;
    }
    const fresh = TOPICS.map((topic) => countNew(client.subscriptions[topic], request.names[topic]));
    const total = fresh.reduce((sum, count) => sum + count, client.subscriptionCount);
    if (total > this.maxPerClient) {
      return { code: 'too_many', message: `these would be ${total} subscriptions, of at most ${this.maxPerClient}` };
    }
    if (request.all) {
      client.all = true;
      this.#all.add(client);
    }
    for (const topic of TOPICS) for (const name of request.names[topic]) this.#join(client, topic, name);
    return undefined;
  }

  /** Ends everything a client has subscribed. */
  remove(client: Client): void {
    client.all = false;
    this.#all.delete(client);
    for (const topic of TOPICS) for (const name of client.subscriptions[topic]) this.#leave(client, topic, name);
  }

  /** True where it takes the device's context to say who wants it. */
  get needsContext(): boolean {
    return this.#all.size > 0 || this.#indexes.types.size > 0 || this.#indexes.sites.size > 0;
  }

  namesDevice(deviceId: string): boolean {
    return this.#indexes.devices.has(deviceId);
  }

  /** Calls `visit` with the sets of clients that want a record; a client can be in several. */
  visit(deviceId: string, context: Context, visit: (clients: ReadonlySet<Client>) => void): void {
    if (this.#all.size > 0) visit(this.#all);
    const byDevice = this.#indexes.devices.get(deviceId);
    if (byDevice !== undefined) visit(byDevice);
    const byType = context.type === null ? undefined : this.#indexes.types.get(context.type);
    if (byType !== undefined) visit(byType);
    const bySite = context.site === null ? undefined : this.#indexes.sites.get(context.site);
    if (bySite !== undefined) visit(bySite);
  }

  #join(client: Client, topic: Topic, name: string): void {
    client.subscriptions[topic].add(name);
    const clients = this.#indexes[topic].get(name);
    if (clients === undefined) this.#indexes[topic].set(name, new Set([client]));
    else clients.add(client);
  }

  #leave(client: Client, topic: Topic, name: string): void {
    client.subscriptions[topic].delete(name);
    const clients = this.#indexes[topic].get(name);
    clients?.delete(client);
    if (clients?.size === 0) this.#indexes[topic].delete(name);
  }
}

function countNew(known: ReadonlySet<string>, names: readonly string[]): number {
  return new Set(names.filter((name) => !known.has(name))).size;
}
