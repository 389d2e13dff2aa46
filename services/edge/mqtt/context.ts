/** What all MQTT connections of an edge share. */
import type { Admission } from '../admission.js';
import type { AssignedSeqs } from '../assigned-seq.js';
import type { Downlink } from '../downlink.js';
import type { Ingest } from '../ingest.js';
import type { EdgeMetrics } from '../metrics.js';
import type { RecordLimits } from '../record-rules.js';
import type { Sessions } from '../sessions.js';
import { TurnClock } from '../turn-clock.js';
import type { ConnectOptions } from './connect.js';
import { Door } from './door.js';

export interface MqttOptions extends RecordLimits, ConnectOptions {
  readonly windowBytes: number;
}

export interface MqttContext {
  readonly door: Door;
  readonly options: MqttOptions;
  readonly admission: Admission;
  readonly sessions: Sessions;
  readonly ingest: Ingest;
  readonly downlink: Downlink;
  readonly metrics: EdgeMetrics;
  readonly assigned: AssignedSeqs;
  readonly clock: TurnClock;
}

/** Bytes of the window for each publish that may be unanswered: over ten times a small record with its header. */
const WINDOW_BYTES_A_PUBLISH = 1_024;
const MAX_RECEIVE_MAXIMUM = 65_535;

/** @param limits the edge's configuration */
export function mqttContext(
  limits: Omit<MqttOptions, 'receiveMaximum'> & { readonly connectTimeoutMs: number },
  parts: Omit<MqttContext, 'options' | 'clock' | 'door'>,
): MqttContext {
  const { payloadBytes, depth, frameBytes, windowBytes } = limits;
  const receiveMaximum = Math.min(MAX_RECEIVE_MAXIMUM, Math.ceil(windowBytes / WINDOW_BYTES_A_PUBLISH));
  const options = { payloadBytes, depth, frameBytes, windowBytes, receiveMaximum };
  return { ...parts, options, clock: new TurnClock(), door: new Door(limits.connectTimeoutMs) };
}
