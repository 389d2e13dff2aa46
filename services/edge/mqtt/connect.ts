/**
 * CONNECT and CONNACK: who wants in, on what terms, and what is answered.
 *
 * The user name is the device's id, or, without one, the client id; the password is its token. No session outlives its
 * connection, whatever Clean Start says: a device's records are on disk once they are acked, what is desired of it is sent on
 * every new connection, and its subscriptions are a packet.
 */
import { BAD_ID, DEVICE_ID, type Admission, type Refused } from '../admission.js';
import { numberOf, type IConnectPacket, type Packet, type Version } from './control-packets.js';
import { Reason, REFUSALS, type Reason as ReasonCode } from './reasons.js';

export interface ConnectOptions {
  readonly frameBytes: number;
  /** Publishes of QoS 1 that a device may have unanswered. */
  readonly receiveMaximum: number;
}

/** The terms of a connection. */
export interface Terms {
  readonly deviceId: string;
  readonly version: Version;
  /** The longest silence of the device, seconds; 0: any. */
  readonly keepAliveSeconds: number;
  /** The longest packet that the device takes, bytes. */
  readonly packetBytes: number;
  /** False where the device wants no reasons in words. */
  readonly wantsReasons: boolean;
  /** What the device wanted said where its connection breaks off; JSON's value where it is JSON. */
  readonly will: unknown;
}

/** Why somebody is not let in: CONNACK's code, its words, and the label of the metric. */
export interface ConnectRefusal {
  readonly code: number;
  readonly message: string;
  readonly label: string;
  readonly retryAfterSeconds?: number | undefined;
}

export const TOPIC_ALIASES = 16;
/** Longer silence is not waited for. */
const MAX_KEEP_ALIVE_SECONDS = 1_200;
const WILL_BYTES = 4_096;
const HOW_TO_GIVE_A_TOKEN = 'give the device id as user name or client id and its token as password';

type Connect = IConnectPacket & { readonly protocolVersion: Version };

/** Lets a device in, or says why not. */
export function admitConnect(connect: Connect, admission: Admission): Terms | ConnectRefusal {
  const { protocolVersion: version, password } = connect;
  const properties = connect.properties ?? {};
  const problem = problemOf(connect);
  if (problem !== undefined) return problem;
  const deviceId = connect.username || connect.clientId;
  const token = password === undefined ? undefined : Buffer.from(password).toString('latin1');
  const refused = DEVICE_ID.test(deviceId)
    ? (admission.authorize(deviceId, token, HOW_TO_GIVE_A_TOKEN) ?? admission.enter())
    : BAD_ID;
  if (refused !== undefined) return refusalOf(refused, version);
  const keepAliveSeconds = connect.keepalive ?? 0;
  return {
    deviceId,
    version,
    keepAliveSeconds: version === 5 ? Math.min(keepAliveSeconds || Infinity, MAX_KEEP_ALIVE_SECONDS) : keepAliveSeconds,
    packetBytes: numberOf(properties.maximumPacketSize) ?? Infinity,
    wantsReasons: properties.requestProblemInformation !== false,
    will: readWill(connect),
  };
}

/** What MQTT itself has against a CONNECT. */
function problemOf({ protocolVersion, clientId, clean, will, properties }: Connect): ConnectRefusal | undefined {
  const is5 = protocolVersion === 5;
  const refuse = (reason: ReasonCode, returnCode: number, message: string): ConnectRefusal => ({
    code: is5 ? reason : returnCode,
    message,
    label: 'connect',
  });
  if (properties?.authenticationMethod !== undefined) {
    return refuse(Reason.badAuthentication, 5, 'there are no authentication methods here; give the token as password');
  }
  if (!is5 && clientId === '' && clean === false) {
    return refuse(Reason.badClientId, 2, 'a client without an id must ask for a clean session');
  }
  if (will === undefined) return undefined;
  if (will.payload.length > WILL_BYTES) {
    return refuse(Reason.quotaExceeded, 5, `the will has ${will.payload.length} bytes; the limit is ${WILL_BYTES}`);
  }
  if (is5 && will.retain === true) return refuse(Reason.noRetain, 5, 'nothing is retained here, no will either');
  return is5 && will.qos === 2 ? refuse(Reason.noQos, 5, 'a will has at most QoS 1') : undefined;
}

function refusalOf(refused: Refused, version: Version): ConnectRefusal {
  const [reason, returnCode] = REFUSALS[refused.reason];
  const { message, retryAfterSeconds } = refused;
  return { code: version === 5 ? reason : returnCode, message, label: refused.reason, retryAfterSeconds };
}

function readWill({ will }: Connect): unknown {
  if (will === undefined) return undefined;
  const text = will.payload.toString();
  try {
    return JSON.parse(text) as unknown;
  } catch {
    // Then it is text.
    return text;
  }
}

/** The CONNACK that lets a device in. */
export function welcome(connect: Connect, terms: Terms, options: ConnectOptions): Packet {
  if (terms.version === 4) return { cmd: 'connack', returnCode: 0, sessionPresent: false };
  const { keepAliveSeconds, deviceId } = terms;
  const properties = {
    sessionExpiryInterval: 0,
    receiveMaximum: options.receiveMaximum,
    maximumQoS: 1,
    retainAvailable: false,
    maximumPacketSize: options.frameBytes,
    topicAliasMaximum: TOPIC_ALIASES,
    wildcardSubscriptionAvailable: true,
    subscriptionIdentifiersAvailable: false,
    sharedSubscriptionAvailable: false,
    ...(connect.clientId === '' ? { assignedClientIdentifier: deviceId } : {}),
    ...(keepAliveSeconds === connect.keepalive ? {} : { serverKeepAlive: keepAliveSeconds }),
  };
  return { cmd: 'connack', reasonCode: 0, sessionPresent: false, properties };
}

/** The CONNACK that does not. */
export function refusal({ code, message, retryAfterSeconds }: ConnectRefusal, version: Version): Packet {
  if (version === 4) return { cmd: 'connack', returnCode: code, sessionPresent: false };
  // Not as an empty object: mqtt-packet would count its bytes and write none.
  const more = retryAfterSeconds === undefined ? {} : { userProperties: { 'retry-after': String(retryAfterSeconds) } };
  return { cmd: 'connack', reasonCode: code, sessionPresent: false, properties: { reasonString: message, ...more } };
}
