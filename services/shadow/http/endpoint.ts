/**
 * The HTTP API of shadow, on uWebSockets.js: routes.ts says what there is, openapi.ts says it to the world.
 *
 * A request is checked in the order of what it costs and of who may know: the token, the rate, the path and method, the
 * headers, the query, and last the body. `GET /` and `GET /openapi.json` are for everybody and draw on no rate.
 *
 * Bounded: requests under way, the bytes of bodies that are being received, and the time that the service may take for an
 * answer; what goes over gets 503. HEAD answers as GET does without the body, OPTIONS with Allow.
 *
 * A request is done even if its client goes away before the answer: who got none asks again, with the version it knows.
 */
import { BodyBudget } from '../../../shared/body-buffer.js';
import type { Address } from '../../../shared/config.js';
import type { Part } from '../../../shared/lifecycle.js';
import { LimitedLog } from '../../../shared/limited-log.js';
import type { Logger } from '../../../shared/log.js';
import { App, listen, type HttpRequest, type HttpResponse, type Listener } from '../../../shared/uws.js';
import type { ShadowApi } from '../api.js';
import { RequestError } from '../request-error.js';
import { checkCaller } from './admission.js';
import { errorAnswer, type Answer, type ErrorLogs, type Headers } from './answers.js';
import { checkHeaders } from './content.js';
import { Exchange } from './exchange.js';
import { readJson } from './json-body.js';
import { ABORTED, NO_ROUTE, type HttpMetrics } from './metrics.js';
import { PAGES } from './pages.js';
import { readQuery } from './query.js';
import { allowOf, matchPath, readSegments, type ApiRequest, type Route } from './routes.js';
import { clientTokenOf } from './shadow-routes.js';
import { TokenBucket } from './token-bucket.js';

export interface HttpOptions {
  readonly listen: Address;
  /** What callers show; undefined: callers on this machine need none, and no others may be served. */
  readonly apiToken: string | undefined;
  /** Requests a second. */
  readonly requestRate: number;
  /** The longest body. */
  readonly maxBodyBytes: number;
  /** How long the service may take for an answer. */
  readonly answerWithinMs?: number;
  /** How long stop waits for the requests under way. */
  readonly stopWithinMs?: number;
}

const ANSWER_WITHIN_MS = 30_000;
const MAX_UNDER_WAY = 10_000;
const BODIES_BYTES = 64 * 1024 * 1024;
const RETRY_AFTER_SECONDS = 1;
/** Less than a service may take to stop: what is not answered then is cut. */
const STOP_WITHIN_MS = 5_000;
/** How often the deadlines are looked at, as a part of the longest wait. */
const SWEEPS = 30;

export class HttpEndpoint implements Part {
  readonly name = 'HTTP endpoint';
  readonly #underWay = new Set<Exchange>();
  readonly #bucket: TokenBucket;
  readonly #bodies: BodyBudget;
  readonly #answerWithinMs: number;
  readonly #logs: ErrorLogs;
  #listener: Listener | undefined;
  #sweeper: NodeJS.Timeout | undefined;
  #stopping = false;
  #idle: (() => void) | undefined;

  constructor(
    private readonly options: HttpOptions,
    private readonly api: ShadowApi,
    private readonly metrics: HttpMetrics,
    log: Logger,
  ) {
    this.#logs = { frequent: new LimitedLog(log), referenced: log };
    this.#bucket = new TokenBucket(options.requestRate);
    this.#bodies = new BodyBudget(Math.max(BODIES_BYTES, 2 * options.maxBodyBytes));
    this.#answerWithinMs = options.answerWithinMs ?? ANSWER_WITHIN_MS;
  }

  /** The port it listens on; undefined before start. */
  get port(): number | undefined {
    return this.#listener?.port;
  }

  /** Requests that are not answered yet. */
  get underWay(): number {
    return this.#underWay.size;
  }

  /** @throws HoldfastError listen_failed */
  async start(): Promise<void> {
    const app = App();
    app.any('/*', (response, request) => this.#take(response, request));
    this.#listener = await listen(app, this.options.listen);
    this.#sweeper = setInterval(() => this.#sweep(), Math.ceil(this.#answerWithinMs / SWEEPS)).unref();
  }

  /** Lets nobody new in and waits, for a while, until the requests under way are answered. */
  async stop(): Promise<void> {
    this.#stopping = true;
    this.#listener?.close();
    if (this.#underWay.size > 0) {
      let timer: NodeJS.Timeout | undefined;
      await new Promise<void>((resolve) => {
        this.#idle = resolve;
        timer = setTimeout(resolve, this.options.stopWithinMs ?? STOP_WITHIN_MS);
      });
      clearTimeout(timer);
    }
    clearInterval(this.#sweeper);
    for (const exchange of [...this.#underWay]) exchange.cut();
  }

  /** The handler of every request; nothing may leave it, and the exchange comes first. */
  #take(response: HttpResponse, request: HttpRequest): void {
    const startedMs = performance.now();
    const method = request.getMethod().toUpperCase();
    const path = request.getUrl();
    const route = { label: NO_ROUTE };
    const exchange = new Exchange(response, {
      isHead: method === 'HEAD',
      onOver: ({ status }) => {
        this.#underWay.delete(exchange);
        this.metrics.requests.inc({ route: route.label, status: status ?? ABORTED });
        if (status !== undefined) this.metrics.seconds.observe({ route: route.label }, secondsSince(startedMs));
        if (this.#underWay.size === 0) this.#idle?.();
      },
    });
    this.#underWay.add(exchange);
    // Without a query this build gives undefined, against its types.
    const queryText = request.getQuery() || '';
    try {
      const page = method === 'GET' || method === 'HEAD' ? PAGES.get(path) : undefined;
      if (page !== undefined) {
        route.label = `GET ${path}`;
        readQuery(queryText, []);
        this.#answer(exchange, page);
        return;
      }
      this.#admit(request);
      const matched = matchPath(path);
      if (matched === undefined && !PAGES.has(path)) throw new RequestError(404, 'there is no such path');
      const routes = matched?.routes ?? [{ method: 'GET' as const }];
      const found = matched?.routes.find((each) => each.method === (method === 'HEAD' ? 'GET' : method));
      if (matched === undefined || found === undefined) {
        this.#answerMethod(exchange, method, [['Allow', allowOf(routes)]]);
        return;
      }
      route.label = `${found.method} ${found.path}`;
      checkHeaders(found.method, this.options.maxBodyBytes, (name) => request.getHeader(name));
      const query = readQuery(queryText, found.query);
      void this.#serve(exchange, found, { ...readSegments(matched), query, body: undefined });
    } catch (error) {
      this.#fail(exchange, error, undefined);
    }
  }

  /** @throws RequestError 401, 403, 429, 503 */
  #admit(request: HttpRequest): void {
    checkCaller(this.options.apiToken, {
      authorization: request.getHeader('authorization'),
      origin: request.getHeader('origin'),
      host: request.getHeader('host'),
    });
    if (this.#stopping) throw new RequestError(503, 'the service stops', RETRY_AFTER_SECONDS);
    if (!this.#bucket.draw()) {
      const message = `more than ${this.options.requestRate} requests a second are not served`;
      throw new RequestError(429, message, RETRY_AFTER_SECONDS);
    }
    if (this.#underWay.size > MAX_UNDER_WAY) {
      throw new RequestError(503, `${MAX_UNDER_WAY} requests are under way`, RETRY_AFTER_SECONDS);
    }
  }

  /** Where the body is read: up to the first await it runs in the request's handler. */
  async #serve(exchange: Exchange, route: Route, request: ApiRequest): Promise<void> {
    let clientToken: string | undefined;
    try {
      let body: ApiRequest['body'];
      if (route.method === 'POST') {
        const bytes = await exchange.readBody(this.options.maxBodyBytes, this.#bodies);
        if (bytes === undefined) return;
        body = readJson(bytes);
        exchange.releaseBody();
        clientToken = clientTokenOf(body);
      }
      exchange.deadlineMs = performance.now() + this.#answerWithinMs;
      this.#answer(exchange, await route.handle(this.api, { ...request, body }));
    } catch (error) {
      this.#fail(exchange, error, clientToken);
    }
  }

  #answerMethod(exchange: Exchange, method: string, headers: Headers): void {
    if (method === 'OPTIONS') {
      this.#answer(exchange, { status: 204, headers, body: undefined });
      return;
    }
    const error = new RequestError(405, `${method} is not a method of this path`);
    this.#answer(exchange, errorAnswer(error, undefined, this.#logs, headers));
  }

  #fail(exchange: Exchange, error: unknown, clientToken: string | undefined): void {
    this.#answer(exchange, errorAnswer(error, clientToken, this.#logs));
  }

  /** While the service stops, clients are told to come back on another connection. */
  #answer(exchange: Exchange, answer: Answer): void {
    const headers: Headers = this.#stopping ? [...answer.headers, ['Connection', 'close']] : answer.headers;
    exchange.answer({ ...answer, headers });
  }

  #sweep(): void {
    const nowMs = performance.now();
    for (const exchange of [...this.#underWay]) {
      const { status, deadlineMs } = exchange;
      if (status !== undefined || deadlineMs === undefined || deadlineMs > nowMs) continue;
      const message = 'this took too long; whether it is done is not known: ask again, with the version that you know';
      this.#fail(exchange, new RequestError(503, message), undefined);
    }
  }
}

function secondsSince(startedMs: number): number {
  return (performance.now() - startedMs) / 1000;
}
