/** Storage's metrics. */
import {
  Counter,
  registerGauge,
  Histogram,
  LATENCY_BUCKETS,
  startAtZero,
  type Registry,
} from '../../shared/metrics.js';

const ROW_BUCKETS = [1, 10, 100, 1_000, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 1_000_000];

/** Why rows are in dead_letters, in few classes, so that the label stays bounded. */
export type DeadReason = 'record' | 'payload' | 'database';

export class StorageMetrics {
  readonly recordsIn: Counter;
  readonly rowsStored: Counter;
  readonly duplicates: Counter;
  readonly deadLetters: Counter<'reason'>;
  readonly retries: Counter<'fault'>;
  readonly copySeconds: Histogram;
  readonly mergeRows: Histogram;
  readonly endToEndSeconds: Histogram;

  /** @param databaseUp whether rows can be stored now */
  constructor(registry: Registry, databaseUp: () => boolean) {
    const registers = [registry];
    const counter = (name: string, help: string): Counter => new Counter({ name, help, registers });
    this.recordsIn = counter('holdfast_records_in_total', 'records of all kinds in the merges that are committed');
    this.rowsStored = counter('holdfast_records_out_total', 'rows committed to telemetry');
    this.duplicates = counter('holdfast_duplicates_total', 'rows that were in telemetry already');
    this.deadLetters = new Counter({
      name: 'holdfast_dead_letters_total',
      help: 'rows set aside in dead_letters: a record that cannot be a row, a payload that is no JSON, refused by PostgreSQL',
      labelNames: ['reason'],
      registers,
    });
    startAtZero(this.deadLetters, 'reason', ['record', 'payload', 'database']);
    this.retries = new Counter({
      name: 'holdfast_retries_total',
      help: 'transactions that were rolled back and tried again, by what was in the way',
      labelNames: ['fault'],
      registers,
    });
    startAtZero(this.retries, 'fault', ['connection', 'duplicate', 'data', 'other']);
    const histogram = (name: string, help: string, buckets: number[]): Histogram =>
      new Histogram({ name, help, buckets, registers });
    this.copySeconds = histogram('holdfast_copy_seconds', 'a merge from BEGIN to COMMIT', LATENCY_BUCKETS);
    this.mergeRows = histogram('holdfast_merge_rows', 'rows of a merge', ROW_BUCKETS);
    const endToEnd = "from the edge's receipt of a batch's last record to COMMIT";
    this.endToEndSeconds = histogram('holdfast_end_to_end_seconds', endToEnd, LATENCY_BUCKETS);
    registerGauge(registry, 'holdfast_database_up', '1 while rows can be stored', () => (databaseUp() ? 1 : 0));
  }
}
