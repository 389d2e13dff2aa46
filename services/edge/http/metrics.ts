/** The counters of the requests that bring records. */
import { Counter, startAtZero, type Registry } from '../../../shared/metrics.js';

const STATUSES = ['200', '207', '400', '401', '403', '405', '413', '415', '429', '503', 'aborted'];

export class HttpMetrics {
  readonly requests;

  constructor(registry: Registry) {
    this.requests = new Counter({
      name: 'holdfast_http_requests_total',
      help: 'HTTP requests with records, by status; aborted: the client went away before the answer',
      labelNames: ['status'],
      registers: [registry],
    });
    startAtZero(this.requests, 'status', STATUSES);
  }
}
