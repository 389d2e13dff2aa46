/** The counters of live. */
import { Counter, registerGauge, startAtZero, type Registry } from '../../shared/metrics.js';

/** Why something is refused: of upgrades, and of requests. */
const REJECT_REASONS = [
  ...['origin', 'subprotocol', 'no_credential', 'credential', 'max_clients'],
  ...['bad_json', 'bad_message', 'too_many'],
];

export class LiveMetrics {
  readonly recordsIn;
  readonly skipped;
  readonly lostBatches;
  readonly rejected;
  readonly deliveries;
  readonly dropped;

  constructor(registry: Registry, clients: () => number) {
    const registers = [registry];
    registerGauge(registry, 'holdfast_clients', 'clients that are connected', clients);
    this.recordsIn = new Counter({ name: 'holdfast_records_in_total', help: 'records that arrived', registers });
    this.skipped = new Counter({
      name: 'holdfast_skipped_records_total',
      help: 'wanted records that were not sent because their payload is not JSON',
      registers,
    });
    this.lostBatches = new Counter({
      name: 'holdfast_lost_batches_total',
      help: 'batches that the router published and that did not arrive, or came faster than they could be sent on',
      registers,
    });
    this.rejected = new Counter({
      name: 'holdfast_rejected_total',
      help: 'upgrades and requests of clients that were refused, by reason',
      labelNames: ['reason'],
      registers,
    });
    startAtZero(this.rejected, 'reason', REJECT_REASONS);
    this.deliveries = new Counter({
      name: 'holdfast_deliveries_total',
      help: 'messages sent to clients',
      registers,
    });
    this.dropped = new Counter({
      name: 'holdfast_dropped_total',
      help: 'messages that slow clients lost',
      registers,
    });
  }
}
