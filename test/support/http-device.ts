/** A device that sends its records by HTTP, on one connection that is kept, as firmware or a script would. */
import { HttpClient, type Reply } from './http-client.js';

/** What the edge answers to records. */
export interface RecordsReply {
  readonly status: number;
  readonly headers: Reply['headers'];
  /** The highest seq that is stored; undefined where the request was not looked into. */
  readonly ack: number | undefined;
  readonly errors: readonly {
    readonly index?: number;
    readonly code: string;
    readonly message: string;
    readonly seq?: number;
  }[];
}

export type RecordsBody = string | Buffer | readonly (string | Buffer)[];

export class HttpDevice {
  readonly #client: HttpClient;

  constructor(
    port: number,
    readonly id: string,
    private readonly token?: string,
    maxSockets = 1,
  ) {
    this.#client = new HttpClient(port, {}, maxSockets);
  }

  /** Sends one record, or several as an array. */
  async send(records: unknown): Promise<RecordsReply> {
    return this.post(JSON.stringify(records), 'application/json');
  }

  /** Sends records as lines. */
  async sendLines(records: readonly unknown[]): Promise<RecordsReply> {
    return this.post(records.map((record) => `${JSON.stringify(record)}\n`).join(''), 'application/x-ndjson');
  }

  /** Sends a body as it is; a list of pieces in as many chunks. */
  async post(body: RecordsBody, contentType: string): Promise<RecordsReply> {
    const headers = {
      'content-type': contentType,
      ...(this.token === undefined ? {} : { authorization: `Bearer ${this.token}` }),
    };
    const path = `/v1/devices/${encodeURIComponent(this.id)}/records`;
    return recordsReply(await this.#client.send({ method: 'POST', path, headers, body }));
  }

  close(): void {
    this.#client.close();
  }
}

/** Reads an answer. @throws Error where it is not one of JSON */
export function recordsReply({ status, headers, text }: Reply): RecordsReply {
  if (headers['content-type'] !== 'application/json') throw new Error(`${status} is not answered in JSON: ${text}`);
  const { ack, errors = [] } = JSON.parse(text) as { ack?: number; errors?: RecordsReply['errors'] };
  return { status, headers, ack, errors };
}
