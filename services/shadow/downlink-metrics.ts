/** The counters of what is sent to devices, and of the states of commands. */
import { COMMAND_STATES } from './api.js';
import { Counter, registerGauge, type Registry } from '../../shared/metrics.js';
import { DownlinkType } from '../../shared/downlink-frames.js';

export interface DownlinkGauges {
  /** Devices that are here. */
  readonly devices: () => number;
  /** Devices that are still to be looked at: what they need may have to be sent. */
  readonly waiting: () => number;
}

const TYPES = new Map(Object.entries(DownlinkType).map(([name, type]) => [type, name]));

export class DownlinkMetrics {
  readonly unsent;
  readonly questions;
  readonly malformed;
  readonly commands;
  readonly #messages;

  constructor(registry: Registry, gauges: DownlinkGauges) {
    const registers = [registry];
    registerGauge(registry, 'holdfast_downlink_devices', 'devices that are connected to an edge', gauges.devices);
    registerGauge(registry, 'holdfast_downlink_waiting', 'devices that may have to be told something', gauges.waiting);
    this.#messages = new Counter({
      name: 'holdfast_downlink_messages_total',
      help: 'messages given to the downlink, by type',
      labelNames: ['type'],
      registers,
    });
    for (const type of TYPES.values()) this.#messages.inc({ type }, 0);
    this.unsent = new Counter({
      name: 'holdfast_downlink_unsent_total',
      help: 'messages that an edge had no room for; they are tried again',
      registers,
    });
    this.questions = new Counter({
      name: 'holdfast_downlink_questions_total',
      help: 'questions of devices for their shadows',
      registers,
    });
    this.malformed = new Counter({
      name: 'holdfast_downlink_malformed_total',
      help: 'messages of edges that make no sense',
      registers,
    });
    this.commands = new Counter({
      name: 'holdfast_commands_total',
      help: 'commands by the state that they came into',
      labelNames: ['state'],
      registers,
    });
    for (const state of COMMAND_STATES) this.commands.inc({ state }, 0);
  }

  sent(type: DownlinkType): void {
    this.#messages.inc({ type: TYPES.get(type)! });
  }
}
