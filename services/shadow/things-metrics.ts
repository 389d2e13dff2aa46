/** The counters of what shadow applies and writes. */
import {
  Counter,
  registerGauge,
  Histogram,
  LATENCY_BUCKETS,
  startAtZero,
  type Registry,
} from '../../shared/metrics.js';

export interface ThingsGauges {
  readonly hot: () => number;
  readonly unwritten: () => number;
}

/** Why a record changes nothing: of all kinds, of reports, of results. */
const REJECT_REASONS = [
  'unknown_kind',
  ...['older', 'too_large', 'bad_report'],
  ...['bad_result', 'unknown_status', 'unknown_command', 'not_its_command', 'command_over'],
];

export class ThingsMetrics {
  readonly recordsIn;
  readonly rejected;
  readonly written;
  readonly flushSeconds;
  readonly endToEndSeconds;

  constructor(registry: Registry, gauges: ThingsGauges) {
    const registers = [registry];
    this.recordsIn = new Counter({ name: 'holdfast_records_in_total', help: 'records that were applied', registers });
    this.rejected = new Counter({
      name: 'holdfast_rejected_total',
      help: 'records that changed nothing, by reason',
      labelNames: ['reason'],
      registers,
    });
    startAtZero(this.rejected, 'reason', REJECT_REASONS);
    this.written = new Counter({
      name: 'holdfast_things_written_total',
      help: 'things written to the store',
      registers,
    });
    this.flushSeconds = new Histogram({
      name: 'holdfast_flush_seconds',
      help: 'time of one write to the store, with the encoding before it',
      buckets: LATENCY_BUCKETS,
      registers,
    });
    this.endToEndSeconds = new Histogram({
      name: 'holdfast_end_to_end_seconds',
      help: "from a record's arrival at the edge to its being durable here, of the oldest record of each flush",
      buckets: LATENCY_BUCKETS,
      registers,
    });
    registerGauge(registry, 'holdfast_hot_things', 'things in memory', gauges.hot);
    registerGauge(
      registry,
      'holdfast_unwritten_things',
      'things that have changed and are not written yet',
      gauges.unwritten,
    );
  }
}
