/** The router's counters and histograms. */
import { recordCount } from '../../shared/batch.js';
import { Counter, Histogram, LATENCY_BUCKETS, startAtZero, type Registry } from '../../shared/metrics.js';

export class RouterMetrics {
  readonly recordsIn;
  readonly bytesIn;
  readonly duplicates;
  readonly rewinds;
  readonly rejected;
  readonly commitSeconds;
  readonly recordsOut;

  constructor(registry: Registry) {
    const registers = [registry];
    this.recordsIn = new Counter({
      name: 'holdfast_records_in_total',
      help: 'records committed from edges',
      registers,
    });
    this.bytesIn = new Counter({
      name: 'holdfast_bytes_in_total',
      help: 'bytes of batches committed from edges',
      registers,
    });
    this.duplicates = new Counter({
      name: 'holdfast_duplicate_batches_total',
      help: 'batches that were stored already and only acked again',
      registers,
    });
    this.rewinds = new Counter({
      name: 'holdfast_rewinds_total',
      help: 'times an edge was sent back to what is stored',
      registers,
    });
    this.rejected = new Counter({
      name: 'holdfast_rejected_total',
      help: 'messages of edges and consumers that were refused, by reason',
      labelNames: ['reason'],
      registers,
    });
    startAtZero(this.rejected, 'reason', ['hello', 'bad_batch', 'consumer']);
    this.commitSeconds = new Histogram({
      name: 'holdfast_commit_seconds',
      help: 'time of one commit to the queue',
      buckets: LATENCY_BUCKETS,
      registers,
    });
    this.recordsOut = new Counter({ name: 'holdfast_records_out_total', help: 'records published', registers });
  }

  countCommitted(batches: readonly Buffer[]): void {
    for (const batch of batches) {
      this.recordsIn.inc(recordCount(batch));
      this.bytesIn.inc(batch.length);
    }
  }
}
