/** The edge's counters and histograms. */
import { Counter, Gauge, Histogram, LATENCY_BUCKETS, startAtZero, type Registry } from '../../shared/metrics.js';

/** Why something is refused: of records and frames, of what is taken, and of connections. */
const REJECT_REASONS = [
  ...['bad_json', 'bad_record', 'bad_seq', 'bad_time', 'too_large', 'refused'],
  ...['window', 'memory', 'queue', 'presence'],
  ...['bad_id', 'origin', 'subprotocol', 'no_credential', 'credential', 'max_devices', 'accept_rate', 'request_rate'],
  ...['stopping', 'connect', 'protocol', 'topic', 'method', 'bad_length', 'content_type', 'content_encoding'],
];

export class EdgeMetrics {
  readonly recordsIn;
  readonly bytesIn;
  readonly recordsOut;
  readonly rejected;
  readonly connections;
  readonly connectionsByProtocol;
  readonly takeOvers;
  readonly commitSeconds;
  readonly ackSeconds;
  readonly hopSeconds;
  readonly routerConnected;
  readonly routerSessions;

  constructor(registry: Registry, devices: () => number) {
    const registers = [registry];
    this.recordsIn = new Counter({
      name: 'holdfast_records_in_total',
      help: 'records committed from devices',
      registers,
    });
    this.bytesIn = new Counter({ name: 'holdfast_bytes_in_total', help: 'bytes of records committed', registers });
    this.recordsOut = new Counter({
      name: 'holdfast_records_out_total',
      help: 'records the router has acked',
      registers,
    });
    this.rejected = new Counter({
      name: 'holdfast_rejected_total',
      help: 'records, frames and connections that were refused, by reason',
      labelNames: ['reason'],
      registers,
    });
    startAtZero(this.rejected, 'reason', REJECT_REASONS);
    this.connections = new Counter({ name: 'holdfast_connections_total', help: 'connections let in', registers });
    this.connectionsByProtocol = new Counter({
      name: 'holdfast_connections_by_protocol_total',
      help: 'connections let in, by what they speak',
      labelNames: ['protocol'],
      registers,
    });
    startAtZero(this.connectionsByProtocol, 'protocol', ['json', 'binary', 'mqtt-3.1.1', 'mqtt-5']);
    this.takeOvers = new Counter({
      name: 'holdfast_take_overs_total',
      help: 'sessions closed because the device opened another',
      registers,
    });
    this.commitSeconds = new Histogram({
      name: 'holdfast_commit_seconds',
      help: 'time of one commit to the queue',
      buckets: LATENCY_BUCKETS,
      registers,
    });
    this.ackSeconds = new Histogram({
      name: 'holdfast_ack_seconds',
      help: 'from the first record of a commit to its acks',
      buckets: LATENCY_BUCKETS,
      registers,
    });
    this.hopSeconds = new Histogram({
      name: 'holdfast_hop_seconds',
      help: 'from sending a batch to the router to its ack',
      buckets: LATENCY_BUCKETS,
      registers,
    });
    this.routerConnected = new Gauge({
      name: 'holdfast_router_connected',
      help: '1 while the router takes batches',
      registers,
    });
    this.routerSessions = new Counter({
      name: 'holdfast_router_disconnects_total',
      help: 'times the link to the router ended or could not be made',
      registers,
    });
    new Gauge({
      name: 'holdfast_devices',
      help: 'devices that are connected',
      registers,
      collect() {
        this.set(devices());
      },
    });
  }

  /** Numbers that the monitor thread reports. */
  takeReport(values: Readonly<Record<string, number>>): void {
    if (values['records'] !== undefined) this.recordsOut.inc(values['records']);
    if (values['ackSeconds'] !== undefined) this.hopSeconds.observe(values['ackSeconds']);
    if (values['connected'] !== undefined) this.routerConnected.set(values['connected']);
    if (values['sessions'] !== undefined) this.routerSessions.inc(values['sessions']);
  }
}
