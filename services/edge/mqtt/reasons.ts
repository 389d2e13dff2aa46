/**
 * Reason codes of MQTT 5 (its §2.4), and what 3.1.1 says in their place: a return code of CONNACK, 0x80 in SUBACK, and
 * otherwise nothing, which leaves a PUBACK or the end of the connection.
 */
import type { RefusalReason } from '../admission.js';
import type { Ending } from '../session.js';

export const Reason = {
  success: 0x00,
  willAfterDisconnect: 0x04,
  noSubscription: 0x11,
  malformed: 0x81,
  protocolError: 0x82,
  implementationSpecific: 0x83,
  unsupportedVersion: 0x84,
  badClientId: 0x85,
  badCredential: 0x86,
  notAuthorised: 0x87,
  unavailable: 0x88,
  busy: 0x89,
  shuttingDown: 0x8b,
  badAuthentication: 0x8c,
  keepAliveTimeout: 0x8d,
  takenOver: 0x8e,
  badFilter: 0x8f,
  badTopic: 0x90,
  receiveMaximum: 0x93,
  badTopicAlias: 0x94,
  packetTooLarge: 0x95,
  quotaExceeded: 0x97,
  badPayload: 0x99,
  noRetain: 0x9a,
  noQos: 0x9b,
  noSharedSubscriptions: 0x9e,
  connectionRate: 0x9f,
  noSubscriptionIds: 0xa1,
} as const;
export type Reason = (typeof Reason)[keyof typeof Reason];

/** How a SUBACK of 3.1.1 refuses a filter. */
export const SUBSCRIPTION_FAILURE = 0x80;

/** Why somebody is not let in, in CONNACK: the reason code of 5, and the return code of 3.1.1. */
export const REFUSALS: Readonly<Record<RefusalReason, readonly [reason: Reason, returnCode: number]>> = {
  bad_id: [Reason.badClientId, 2],
  origin: [Reason.notAuthorised, 5],
  subprotocol: [Reason.notAuthorised, 5],
  no_credential: [Reason.badCredential, 4],
  credential: [Reason.notAuthorised, 5],
  stopping: [Reason.unavailable, 3],
  max_devices: [Reason.busy, 3],
  accept_rate: [Reason.connectionRate, 3],
  // Of requests by HTTP; nobody connects with one.
  request_rate: [Reason.busy, 3],
};

/** The reason code and the words of DISCONNECT. */
export function disconnectOf(ending: Ending): readonly [reason: Reason, message: string] {
  switch (ending.why) {
    case 'no_room':
      return [Reason.quotaExceeded, `retry-after:${ending.retryAfterMs}`];
    case 'taken_over':
      return [Reason.takenOver, 'the device has opened another session'];
    case 'restart':
      return [Reason.shuttingDown, 'the edge restarts'];
    case 'malformed':
      return [Reason.malformed, 'malformed packet'];
  }
}

/** What a device did against the protocol: the connection ends with this reason. */
export class ProtocolError extends Error {
  constructor(
    readonly reason: Reason,
    message: string,
  ) {
    // Without a stack, which would be most of its cost: it is a device's fault, and nobody reads where it was found.
    const { stackTraceLimit } = Error;
    Error.stackTraceLimit = 0;
    super(message);
    Error.stackTraceLimit = stackTraceLimit;
  }
}
