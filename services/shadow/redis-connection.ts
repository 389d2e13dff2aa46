/**
 * The connection to Redis or to a Redis Cluster. While Redis is away every call fails at once: nothing is queued and
 * nothing is sent again by itself, because the engine knows better what is still wanted. ioredis connects again with
 * back-off.
 *
 *   enableOfflineQueue false, maxRetriesPerRequest 0   a command that cannot be sent, or whose connection goes, fails
 *   commandTimeout, socketTimeout                      one that is not answered fails, and then the connection is given up,
 *                                                      so that those after it fail at once
 *   retryDelayOn… 0                                    the same in a cluster: no command waits for a failover
 *   reconnectOnError READONLY                          behind this address there is a replica now: connect anew
 */
import { Cluster, Redis } from 'ioredis';
import { HoldfastError, messageOf } from '../../shared/errors.js';
import { LimitedLog } from '../../shared/limited-log.js';
import type { Logger } from '../../shared/log.js';
import type { Script } from './redis-scripts.js';

export type RedisClient = Redis | Cluster;
export type RedisCommand<T> = (client: RedisClient) => Promise<T>;
export type ScriptArguments = readonly (string | Buffer | number)[];

const KEEP_ALIVE_MS = 10_000;
const FIRST_RETRY_MS = 50;
const MAX_RETRY_MS = 3_000;
/** How often is looked whether Redis has read its files. */
const LOADING_RETRY_MS = 500;
const DISCONNECT_TIMEOUT_MS = 500;

/** Errors that go away by themselves, or by what an operator does: Redis is full, read-only, starting, failing over. */
const PASSING = /\b(OOM|READONLY|LOADING|MISCONF|CLUSTERDOWN|MASTERDOWN|NOREPLICAS|TRYAGAIN|BUSY)\b/;

export class RedisConnection {
  readonly #client: RedisClient;
  readonly #name: string;
  readonly #lines: LimitedLog;
  #lastError: Error | undefined;
  #isAwaySince: number | undefined;
  #isClosed = false;

  /**
   * @param urls one: a server; several: nodes of a cluster
   * @param clientName what Redis lists the connection as, where the user may name it
   * @param timeoutMs how long an answer, and a connection, may take
   */
  constructor(
    urls: readonly string[],
    clientName: string,
    log: Logger,
    private readonly timeoutMs: number,
  ) {
    this.#lines = new LimitedLog(log);
    this.#name = `Redis (${urls.map((url) => new URL(url).host).join(', ')})`;
    this.#client = makeClient(urls, clientName, timeoutMs);
    // Without a listener an 'error' would end up on the console, and with some emitters end the process.
    this.#client.on('error', (error: Error) => this.#note(error));
    this.#client.on('node error', (error: Error) => this.#note(error));
    this.#client.on('ready', () => this.#isBack());
    this.#client.on('close', () => this.#isAway());
  }

  get ready(): boolean {
    return this.#client.status === 'ready' && !this.#isClosed;
  }

  /**
   * Connects where that was never tried; after that the client goes on by itself.
   * @throws HoldfastError store (retry) where Redis is not there now
   */
  async connect(): Promise<void> {
    const { status } = this.#client;
    if (!this.#isClosed && (status === 'wait' || status === 'end')) await this.#connectFirst();
    if (!this.ready) throw this.#errorOf('connecting', this.#lastError);
  }

  /**
   * Runs a command.
   * @param doing what for, in the words of the error
   * @throws HoldfastError store: with retry where Redis is away or says that it cannot for now, without for what it refuses
   */
  async run<T>(doing: string, command: RedisCommand<T>): Promise<T> {
    if (!this.ready) throw this.#errorOf(doing, this.#lastError);
    try {
      return await command(this.#client);
    } catch (error) {
      throw this.#errorOf(doing, error);
    }
  }

  /** The names of all connections that Redis has, of every node of a cluster. */
  async clientNames(): Promise<string[]> {
    const lists = await this.run('listing the connections', (client) => {
      const nodes = client instanceof Cluster ? client.nodes('master') : [client];
      return Promise.all(nodes.map(async (node) => String(await node.client('LIST'))));
    });
    return lists.flatMap((list) => [...list.matchAll(/ name=(\S*)/g)].map((match) => match[1]!));
  }

  /** Runs a script by its hash; where Redis does not know it (any more), by its source. Replies are strings. */
  runScript(doing: string, script: Script, keys: readonly string[], args: ScriptArguments): Promise<unknown> {
    return this.run(doing, (client) =>
      evaluate(
        () => client.evalsha(script.sha, keys.length, ...keys, ...args),
        () => client.eval(script.source, keys.length, ...keys, ...args),
      ),
    );
  }

  /** As runScript; replies are bytes. */
  runScriptBuffer(doing: string, script: Script, keys: readonly string[], args: ScriptArguments): Promise<unknown> {
    return this.run(doing, (client) =>
      evaluate(
        () => client.callBuffer('evalsha', script.sha, keys.length, ...keys, ...args),
        () => client.callBuffer('eval', script.source, keys.length, ...keys, ...args),
      ),
    );
  }

  /** Ends the connection; commands under way fail. */
  async close(): Promise<void> {
    if (this.#isClosed) return;
    const wasReady = this.ready;
    this.#isClosed = true;
    const ended = new Promise<void>((resolve) => this.#client.once('end', resolve));
    this.#client.disconnect();
    if (wasReady) await ended;
  }

  /** Ends with the first attempt, however it went: what a cluster's connect() returns may never settle. */
  async #connectFirst(): Promise<void> {
    const client = this.#client;
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, 2 * this.timeoutMs);
      const settle = (): void => {
        clearTimeout(timer);
        client.off('ready', settle);
        client.off('close', settle);
        resolve();
      };
      client.on('ready', settle);
      client.on('close', settle);
      client.connect().catch((error: unknown) => {
        this.#lastError ??= error instanceof Error ? error : undefined;
      });
    });
  }

  #note(error: Error): void {
    const isNew = error.message !== this.#lastError?.message;
    this.#lastError = error;
    if (isNew && !this.#isClosed)
      this.#lines.tell('warn', { reason: reasonOf(error) }, `${this.#name} cannot be reached`);
  }

  #isBack(): void {
    this.#lastError = undefined;
    if (this.#isAwaySince !== undefined) {
      this.#lines.tell('info', { awayMs: Date.now() - this.#isAwaySince }, `${this.#name} is back`);
    }
    this.#isAwaySince = undefined;
  }

  #isAway(): void {
    if (this.#isClosed || this.#isAwaySince !== undefined) return;
    this.#isAwaySince = Date.now();
    this.#lines.tell('warn', {}, `${this.#name} is away; shadow goes on when it is back`);
  }

  #errorOf(doing: string, cause: unknown): HoldfastError {
    if (this.#isClosed) return new HoldfastError('store', `${this.#name} was closed before ${doing}`, false, cause);
    const isReply = cause instanceof Error && cause.name === 'ReplyError';
    if (isReply && !PASSING.test(cause.message)) {
      const advice = cause.message.startsWith('MOVED') ? '; it is of a cluster: name its nodes in SHADOW_REDIS' : '';
      return new HoldfastError('store', `${this.#name} refuses ${doing}: ${cause.message}${advice}`, false, cause);
    }
    const why = cause === undefined ? 'no connection' : reasonOf(cause);
    return new HoldfastError('store', `${this.#name} cannot be used for ${doing} now: ${why}`, true, cause);
  }
}

/** In words; an attempt at several addresses of a name fails with nothing but a code. */
function reasonOf(error: unknown): string {
  const message = messageOf(error);
  return message === '' && error instanceof Error && 'code' in error ? String(error.code) : message;
}

async function evaluate(bySha: () => Promise<unknown>, bySource: () => Promise<unknown>): Promise<unknown> {
  try {
    return await bySha();
  } catch (error) {
    if (!messageOf(error).startsWith('NOSCRIPT')) throw error;
    return bySource();
  }
}

function makeClient(urls: readonly string[], connectionName: string, timeoutMs: number): RedisClient {
  const options = {
    connectTimeout: timeoutMs,
    connectionName,
    commandTimeout: timeoutMs,
    socketTimeout: timeoutMs + 1_000,
    disconnectTimeout: DISCONNECT_TIMEOUT_MS,
    maxLoadingRetryTime: LOADING_RETRY_MS,
    maxRetriesPerRequest: 0,
    autoResendUnfulfilledCommands: false,
    keepAlive: KEEP_ALIVE_MS,
    reconnectOnError: (error: Error) => error.message.startsWith('READONLY'),
  };
  const first = new URL(urls[0]!);
  if (urls.length === 1) {
    return new Redis(first.href, {
      ...options,
      lazyConnect: true,
      enableOfflineQueue: false,
      retryStrategy: retryDelayMs,
    });
  }
  return new Cluster([...urls], {
    lazyConnect: true,
    enableOfflineQueue: false,
    clusterRetryStrategy: retryDelayMs,
    retryDelayOnFailover: 0,
    retryDelayOnClusterDown: 0,
    slotsRefreshTimeout: timeoutMs,
    // Nodes that the cluster names are reached as the first one of the list.
    redisOptions: {
      ...options,
      ...(first.username === '' ? {} : { username: decodeURIComponent(first.username) }),
      ...(first.password === '' ? {} : { password: decodeURIComponent(first.password) }),
      ...(first.protocol === 'rediss:' ? { tls: {} } : {}),
    },
  });
}

/** Full jitter: clients that lost Redis together do not come back together. */
function retryDelayMs(attempt: number): number {
  return Math.random() * Math.min(MAX_RETRY_MS, FIRST_RETRY_MS * 2 ** Math.min(attempt, 10));
}
