/** What is counted of the downlink. */
import { DownlinkType } from '../../shared/downlink-frames.js';
import { Counter, Gauge, startAtZero, type Registry } from '../../shared/metrics.js';

const NAMES: Readonly<Record<DownlinkType, string>> = {
  [DownlinkType.delta]: 'delta',
  [DownlinkType.command]: 'command',
  [DownlinkType.shadow]: 'shadow',
};

export class DownlinkMetrics {
  readonly connected;
  readonly questions;
  readonly refused;
  readonly dropped;
  readonly #delivered;

  constructor(registry: Registry) {
    const registers = [registry];
    this.connected = new Gauge({ name: 'holdfast_downlink_connected', help: '1 while shadow is connected', registers });
    this.#delivered = new Counter({
      name: 'holdfast_downlink_total',
      help: "messages of shadow that were given to a device's session, by type",
      labelNames: ['type'],
      registers,
    });
    startAtZero(this.#delivered, 'type', Object.values(NAMES));
    this.dropped = new Counter({
      name: 'holdfast_downlink_dropped_total',
      help: 'messages of shadow that no session got: malformed, or its device gone, has not asked, or does not read',
      labelNames: ['reason'],
      registers,
    });
    startAtZero(this.dropped, 'reason', ['malformed', 'gone', 'unasked', 'unread']);
    this.questions = new Counter({
      name: 'holdfast_downlink_questions_total',
      help: 'times that devices asked for their shadows',
      registers,
    });
    this.refused = new Counter({
      name: 'holdfast_downlink_refused_total',
      help: 'questions that were refused, because shadow was away or did not answer',
      registers,
    });
  }

  delivered(type: DownlinkType): void {
    this.#delivered.inc({ type: NAMES[type] });
  }
}
