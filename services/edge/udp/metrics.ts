/** The counters of UDP. */
import { Counter, startAtZero, type Registry } from '../../../shared/metrics.js';

/** Why nothing of a datagram was taken, or not all. */
export const REFUSALS = ['too_long', 'malformed', 'hmac', 'devices', 'no_room', 'stopping'] as const;
export type Refusal = (typeof REFUSALS)[number];

export class UdpMetrics {
  readonly received;
  readonly reads;
  readonly refused;
  readonly sent;
  readonly unsent;
  readonly resent;

  constructor(private readonly registry: Registry) {
    const registers = [registry];
    this.received = new Counter({ name: 'holdfast_udp_received_total', help: 'datagrams that came', registers });
    this.reads = new Counter({
      name: 'holdfast_udp_reads_total',
      help: 'system calls that brought datagrams, one or many',
      registers,
    });
    this.refused = new Counter({
      name: 'holdfast_udp_refused_total',
      help: 'datagrams of which nothing was taken, by reason',
      labelNames: ['reason'],
      registers,
    });
    startAtZero(this.refused, 'reason', REFUSALS);
    this.sent = new Counter({
      name: 'holdfast_udp_sent_total',
      help: 'datagrams that were sent, by type',
      labelNames: ['type'],
      registers,
    });
    startAtZero(this.sent, 'type', ['ack', 'error']);
    this.unsent = new Counter({
      name: 'holdfast_udp_unsent_total',
      help: 'datagrams that the network did not take',
      registers,
    });
    this.resent = new Counter({
      name: 'holdfast_udp_resent_total',
      help: 'records that were known to be stored, and were acked again',
      registers,
    });
  }

  /** Shows what the kernel has dropped, where it says so. @param read the count; undefined: it cannot be read any more */
  showDropped(read: () => number | undefined): void {
    new Counter({
      name: 'holdfast_udp_dropped_total',
      help: 'datagrams that the kernel dropped before they were read, as a rule because its buffer was full',
      registers: [this.registry],
      collect() {
        const count = read();
        if (count === undefined) return;
        this.reset();
        this.inc(count);
      },
    });
  }
}
