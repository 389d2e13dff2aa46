/** The metrics of the HTTP endpoint. Routes are templates, as `GET /things/{thing}/shadow`: never ids. */
import { Counter, Histogram, LATENCY_BUCKETS, type Registry } from '../../../shared/metrics.js';

/** The route of a request that was refused before it was known which it is for, or that is for none. */
export const NO_ROUTE = 'none';

/** The status of a request whose client went away before it was answered. */
export const ABORTED = 'aborted';

export class HttpMetrics {
  readonly requests;
  readonly seconds;

  constructor(registry: Registry) {
    const registers = [registry];
    this.requests = new Counter({
      name: 'holdfast_requests_total',
      help: 'HTTP requests, by route and status; aborted: the client went away before the answer',
      labelNames: ['route', 'status'],
      registers,
    });
    this.seconds = new Histogram({
      name: 'holdfast_request_seconds',
      help: 'from the headers of a request to its answer, by route',
      labelNames: ['route'],
      buckets: LATENCY_BUCKETS,
      registers,
    });
  }
}
