/** What an application of a test's does: the shadow service's HTTP API, with fetch. */

/** An answer, whatever its status. */
export interface Answer {
  readonly status: number;
  /** The JSON of the body; undefined where there is none. */
  readonly body: unknown;
}

/** A document as GET gives it. */
export interface ShadowDocument {
  readonly state: {
    readonly desired?: Readonly<Record<string, unknown>>;
    readonly reported?: Readonly<Record<string, unknown>>;
    readonly delta?: Readonly<Record<string, unknown>>;
  };
  readonly metadata: {
    readonly desired?: Readonly<Record<string, unknown>>;
    readonly reported?: Readonly<Record<string, unknown>>;
  };
  readonly version: number;
  readonly timestamp: number;
  readonly latest: { readonly time: number; readonly seq: number; readonly data: unknown } | null;
  readonly connected: boolean;
}

export interface UpdateRequest {
  readonly state: { readonly desired?: unknown; readonly reported?: unknown };
  readonly version?: number;
  readonly clientToken?: string;
}

/** A command as the API shows it. */
export interface CommandAnswer {
  readonly id: string;
  readonly thing: string;
  readonly state: string;
  readonly sends: number;
  readonly result?: unknown;
}

const TIMEOUT_MS = 10_000;

export class ShadowClient {
  /**
   * @param url as http://127.0.0.1:7320
   * @param token of the API, where it wants one
   */
  constructor(
    readonly url: string,
    private readonly token?: string,
  ) {}

  /** @throws Error where nobody answers */
  async request(method: string, path: string, body?: unknown): Promise<Answer> {
    const response = await fetch(this.url + path, {
      method,
      signal: AbortSignal.timeout(TIMEOUT_MS),
      headers: {
        ...(this.token === undefined ? {} : { authorization: `Bearer ${this.token}` }),
        ...(body === undefined ? {} : { 'content-type': 'application/json' }),
      },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    const text = await response.text();
    return { status: response.status, body: text === '' ? undefined : (JSON.parse(text) as unknown) };
  }

  /** The document; undefined where there is none (404). @throws Error with any other answer than 200 */
  async shadow(thing: string): Promise<ShadowDocument | undefined> {
    const answer = await this.request('GET', `/things/${thing}/shadow`);
    return answer.status === 404 ? undefined : (expectStatus(answer, 200) as ShadowDocument);
  }

  update(thing: string, request: UpdateRequest): Promise<Answer> {
    return this.request('POST', `/things/${thing}/shadow`, request);
  }

  /** Sets desired. @throws Error where that is not accepted */
  async desire(thing: string, desired: unknown): Promise<void> {
    expectStatus(await this.update(thing, { state: { desired } }), 200);
  }

  /** @returns the command's id. @throws Error where it is not accepted */
  async sendCommand(thing: string, name: string, data: unknown = {}, ttlSeconds = 600): Promise<string> {
    const answer = await this.request('POST', `/things/${thing}/commands`, { name, data, ttlSeconds });
    return (expectStatus(answer, 202) as { id: string }).id;
  }

  async command(thing: string, id: string): Promise<CommandAnswer> {
    return expectStatus(await this.request('GET', `/things/${thing}/commands/${id}`), 200) as CommandAnswer;
  }
}

function expectStatus(answer: Answer, status: number): unknown {
  if (answer.status === status) return answer.body;
  throw new Error(`${status} was expected, not ${answer.status} ${JSON.stringify(answer.body)}`);
}
