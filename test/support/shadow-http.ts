/** The HTTP endpoint of shadow in this process before an API in memory, and a client that holds every answer to the document. */
import { pino } from 'pino';
import type { Test } from 'tap';
import { HttpEndpoint, type HttpOptions } from '../../services/shadow/http/endpoint.js';
import { BODY_BYTES } from '../../services/shadow/http/limits.js';
import { HttpMetrics } from '../../services/shadow/http/metrics.js';
import { OPENAPI } from '../../services/shadow/http/openapi.js';
import { Registry } from '../../shared/metrics.js';
import { ApiContract } from './api-contract.js';
import { HttpClient, type Call, type Reply } from './http-client.js';
import { MemoryShadowApi } from './memory-shadow-api.js';

export type Value = Readonly<Record<string, unknown>>;

/** A reply that keeps to the document. */
export interface Checked extends Reply {
  /** The body as JSON; {} where there is none. */
  readonly json: Value;
}

export class ShadowHttp {
  readonly api = new MemoryShadowApi();
  readonly registry = new Registry();
  readonly endpoint: HttpEndpoint;
  /** The log's lines. */
  readonly lines: Value[] = [];
  #client: HttpClient | undefined;

  private constructor(
    options: Partial<HttpOptions>,
    readonly contract: ApiContract,
  ) {
    const write = (line: string): void => void this.lines.push(JSON.parse(line) as Value);
    this.endpoint = new HttpEndpoint(
      {
        listen: { host: '127.0.0.1', port: 0 },
        apiToken: undefined,
        requestRate: 1_000_000,
        maxBodyBytes: BODY_BYTES,
        ...options,
      },
      this.api,
      new HttpMetrics(this.registry),
      pino({ level: 'trace' }, { write }),
    );
  }

  static async start(
    t: Pick<Test, 'teardown'>,
    options: Partial<HttpOptions> = {},
    contract = new ApiContract(OPENAPI),
  ): Promise<ShadowHttp> {
    const http = new ShadowHttp(options, contract);
    await http.endpoint.start();
    const client = new HttpClient(
      http.endpoint.port!,
      options.apiToken === undefined ? {} : { authorization: `Bearer ${options.apiToken}` },
      64,
    );
    http.#client = client;
    t.teardown(() => http.stop());
    return http;
  }

  async stop(): Promise<void> {
    this.#client?.close();
    await this.endpoint.stop();
  }

  get port(): number {
    return this.endpoint.port!;
  }

  /** Sends a request over connections that are kept, and holds the answer to the document. */
  async send(method: string, path: string, rest: Omit<Call, 'method' | 'path'> = {}): Promise<Checked> {
    return this.through(this.#client!, { method, path, ...rest });
  }

  async through(client: HttpClient, call: Call): Promise<Checked> {
    const reply = await client.send(call);
    this.contract.check(call, reply);
    const isJson = reply.headers['content-type'] === 'application/json' && reply.text !== '';
    return { ...reply, json: isJson ? (JSON.parse(reply.text) as Value) : {} };
  }
}
