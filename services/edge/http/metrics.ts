/** The counters of the requests that bring records. */
import { Counter, type Registry } from '../../../shared/metrics.js';

export class HttpMetrics {
  readonly requests;

  constructor(registry: Registry) {
    this.requests = new Counter({
      name: 'holdfast_http_requests_total',
      help: 'HTTP requests with records, by status; aborted: the client went away before the answer',
      labelNames: ['status'],
      registers: [registry],
    });
  }
}
