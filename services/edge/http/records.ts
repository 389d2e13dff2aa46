/**
 * Records by HTTP, for devices that have no connection to keep and for a person with curl:
 *
 *   POST /v1/devices/{id}/records          Authorization: Bearer <token>; one record object, an array, or NDJSON
 *   POST /api/v1/{id}.{token}/telemetry    as ThingsBoard's devices send it
 *   POST /api/v1/{id}.{token}/attributes   the same, as a report
 *
 * ThingsBoard's devices have a token and no id. A Holdfast token says nothing of its device, so the id stands before it, up
 * to the last dot: ids may hold dots, tokens hold none. A token in a URL ends up in the logs of whatever stands between;
 * this edge logs no URLs.
 *
 * A request is checked in the order of what it costs: path, Origin, token, rate, method, headers, and last the body.
 * Bounded: a body (EDGE_FRAME_LIMIT), all bodies under way (EDGE_MEMORY), the records of a request (EDGE_WINDOW) and of all
 * (EDGE_MEMORY again). A connection has one request under way.
 */
import { BodyBudget } from '../../../shared/body-buffer.js';
import type { HttpRequest, HttpResponse } from '../../../shared/uws.js';
import { BAD_ID, type Admission, type Refused } from '../admission.js';
import type { AssignedSeqs } from '../assigned-seq.js';
import type { Ingest } from '../ingest.js';
import type { EdgeMetrics } from '../metrics.js';
import type { RecordLimits } from '../record-rules.js';
import { TurnClock } from '../turn-clock.js';
import { refusalAnswer } from './answers.js';
import { bearerToken, decodeId, refuseOrigin } from './caller.js';
import { readForm, tooLarge, TOO_MANY_BODIES, type NotRead } from './content.js';
import { Exchange } from './exchange.js';
import type { HttpMetrics } from './metrics.js';
import { readAttributes, readNative, readTelemetry, type ReadRecord } from './record-readers.js';
import { RecordsRequest } from './records-request.js';
import type { Requests } from './server.js';

export interface RecordsOptions extends RecordLimits {
  readonly origins: readonly string[];
  readonly frameBytes: number;
  readonly memoryBytes: number;
}

/** Who sends, as far as the path and the headers say it. */
interface Caller {
  readonly deviceId: string | undefined;
  readonly token: string | undefined;
}

/** What stands around the segment that names the device, and how its records are read. */
interface Path {
  readonly prefix: string;
  readonly suffix: string;
  readonly read: ReadRecord;
  /** How a token is given. */
  readonly howTo: string;
  readonly callerOf: (segment: string, request: HttpRequest) => Caller;
}

const BY_HEADER = { howTo: 'give the token as Authorization: Bearer <token>', callerOf: callerByHeader };
const BY_PATH = { howTo: 'give the id and the token as /api/v1/{id}.{token}/telemetry', callerOf: callerByPath };

const PATHS: readonly Path[] = [
  { prefix: '/v1/devices/', suffix: '/records', read: readNative, ...BY_HEADER },
  { prefix: '/api/v1/', suffix: '/telemetry', read: readTelemetry, ...BY_PATH },
  { prefix: '/api/v1/', suffix: '/attributes', read: readAttributes, ...BY_PATH },
];

export class RecordsEndpoint implements Requests {
  readonly #clock = new TurnClock();
  readonly #bodies: BodyBudget;

  constructor(
    private readonly options: RecordsOptions,
    private readonly admission: Admission,
    private readonly ingest: Ingest,
    private readonly assigned: AssignedSeqs,
    private readonly edgeMetrics: EdgeMetrics,
    private readonly metrics: HttpMetrics,
  ) {
    this.#bodies = new BodyBudget(options.memoryBytes);
  }

  serve(response: HttpResponse, request: HttpRequest): boolean {
    const path = request.getUrl();
    for (const { prefix, suffix, read, howTo, callerOf } of PATHS) {
      if (!path.startsWith(prefix) || !path.endsWith(suffix)) continue;
      const caller = callerOf(path.slice(prefix.length, -suffix.length), request);
      this.#take(response, request, caller, howTo, read);
      return true;
    }
    return false;
  }

  /** The handler of every request; nothing may leave it, and the exchange comes first. */
  #take(response: HttpResponse, request: HttpRequest, caller: Caller, howTo: string, read: ReadRecord): void {
    const exchange = new Exchange(response, (status) => this.metrics.requests.inc({ status: status.slice(0, 3) }));
    const refused = this.#refuse(caller, request.getHeader('origin'), howTo);
    if (refused !== undefined || caller.deviceId === undefined) {
      this.#refuseCaller(exchange, refused ?? BAD_ID);
      return;
    }
    const form = readForm((name) => request.getHeader(name), request.getMethod(), this.options.frameBytes);
    if (typeof form !== 'string') {
      this.#refuseBody(exchange, form);
      return;
    }
    const records = new RecordsRequest(
      caller.deviceId,
      (answer) => exchange.answer(answer),
      (code) => this.edgeMetrics.rejected.inc({ reason: code }),
    );
    exchange.receive(this.options.frameBytes, this.#bodies, {
      onBody: (body) => {
        const stopping = this.admission.refuseWhileStopping();
        if (stopping !== undefined) {
          this.#refuseCaller(exchange, stopping);
          return;
        }
        const { options, assigned } = this;
        const reading = { limits: options, receivedMs: this.#clock.now(), assigned, seqs: undefined };
        records.take(body, form, read, reading, this.ingest);
      },
      onTooMuch: (what) => {
        this.#refuseBody(exchange, what === 'body' ? tooLarge(this.options.frameBytes) : TOO_MANY_BODIES);
      },
      onAborted: () => {
        this.metrics.requests.inc({ status: 'aborted' });
        records.session.markClosed();
      },
    });
  }

  #refuse({ deviceId, token }: Caller, origin: string, howTo: string): Refused | undefined {
    if (deviceId === undefined) return BAD_ID;
    return (
      refuseOrigin(origin, this.options.origins) ??
      this.admission.authorize(deviceId, token, howTo) ??
      this.admission.request()
    );
  }

  #refuseCaller(exchange: Exchange, refused: Refused): void {
    this.edgeMetrics.rejected.inc({ reason: refused.reason });
    exchange.answer(refusalAnswer(refused));
  }

  #refuseBody(exchange: Exchange, { code, answer }: NotRead): void {
    this.edgeMetrics.rejected.inc({ reason: code });
    exchange.answer(answer);
  }
}

function callerByHeader(segment: string, request: HttpRequest): Caller {
  return { deviceId: decodeId(segment), token: bearerToken(request.getHeader('authorization')) };
}

function callerByPath(segment: string): Caller {
  const dot = segment.lastIndexOf('.');
  // Where the edge asks for no token, the whole may be the id.
  if (dot < 0) return { deviceId: decodeId(segment), token: undefined };
  return { deviceId: decodeId(segment.slice(0, dot)), token: segment.slice(dot + 1) };
}
