/**
 * The frames of the downlink: shadow's XPUB socket ← every edge's XSUB socket, one subscription a connected device.
 *
 *   edge → shadow   subscription  1 | topic          the device is here, on a new connection
 *                   cancellation  0 | topic          it is gone
 *                   question      2 | device id      the device asks for its shadow (a user message of XSUB)
 *   shadow → edge   topic | u8 type | f64 version | payload
 *     topic         `<device id>\0`, so that none is the start of another
 *     type          3 delta, 4 command, 6 shadow: those of the device protocol
 *     version       of the shadow that a delta belongs to, or 0
 *     payload       JSON in UTF-8: the delta, the command, the shadow (`null` where the device has none)
 *
 * A message is one frame. libzmq ends the process of a subscriber with `immediate` that has read the first of several frames
 * when its connection ends (assertion !_more in fq.cpp; libzmq #2163, azmq #149): a shadow that dies in the middle of sending
 * would take its edges with it (services/shadow/downlink.test.ts).
 *
 * ZeroMQ sends an edge's subscriptions again whenever it connects, so shadow hears of every connected device after a
 * restart of either. An edge takes a device's subscription back and gives it anew where the device opens another session:
 * a subscription always means a connection that has been told nothing yet.
 */
export const DownlinkType = { delta: 3, command: 4, shadow: 6 } as const;
export type DownlinkType = (typeof DownlinkType)[keyof typeof DownlinkType];

export const QUESTION = 2;
const SUBSCRIBE = 1;
const CANCEL = 0;
const HEADER_BYTES = 9;
const TYPES: readonly number[] = Object.values(DownlinkType);

/** What shadow reads from its socket. */
export type UplinkMessage = {
  readonly type: 'subscribe' | 'cancel' | 'question';
  readonly deviceId: string;
};

/** What an edge reads from its socket. */
export interface DownlinkMessage {
  readonly deviceId: string;
  readonly type: DownlinkType;
  /** Of the shadow a delta belongs to; 0 otherwise. */
  readonly version: number;
  /** JSON in UTF-8. */
  readonly payload: Buffer;
}

/** The topic of a device. */
export function downlinkTopic(deviceId: string): string {
  return `${deviceId}\0`;
}

/** The frame that subscribes to a device's topic. */
export function subscription(deviceId: string): Buffer {
  return Buffer.from(`\x01${downlinkTopic(deviceId)}`, 'latin1');
}

/** The frame that takes a device's subscription back. */
export function cancellation(deviceId: string): Buffer {
  return Buffer.from(`\0${downlinkTopic(deviceId)}`, 'latin1');
}

export function encodeQuestion(deviceId: string): Buffer {
  return Buffer.concat([Buffer.of(QUESTION), Buffer.from(deviceId, 'latin1')]);
}

/** @returns undefined where the frame is none of the three */
export function decodeUplink(frame: Buffer): UplinkMessage | undefined {
  if (frame[0] === QUESTION) {
    return frame.length < 2 ? undefined : { type: 'question', deviceId: frame.toString('latin1', 1) };
  }
  if (frame[0] !== SUBSCRIBE && frame[0] !== CANCEL) return undefined;
  if (frame.length < 3 || frame.indexOf(0, 1) !== frame.length - 1) return undefined;
  // Not a slice of a longer string, which would keep that in memory beside it.
  const deviceId = frame.toString('latin1', 1, frame.length - 1);
  return { type: frame[0] === SUBSCRIBE ? 'subscribe' : 'cancel', deviceId };
}

/** The frame of a message to a device. */
export function encodeDownlink(
  deviceId: string,
  type: DownlinkType,
  version: number,
  payload: Buffer | string,
): Buffer {
  const headerAt = deviceId.length + 1;
  const payloadAt = headerAt + HEADER_BYTES;
  const frame = Buffer.allocUnsafe(payloadAt + Buffer.byteLength(payload));
  frame.write(downlinkTopic(deviceId), 0, 'latin1');
  frame[headerAt] = type;
  frame.writeDoubleLE(version, headerAt + 1);
  if (typeof payload === 'string') frame.write(payload, payloadAt, 'utf8');
  else payload.copy(frame, payloadAt);
  return frame;
}

/** @returns undefined where the frame is no message to a device; the payload is a part of the frame */
export function decodeDownlink(frame: Buffer): DownlinkMessage | undefined {
  const topicEnd = frame.indexOf(0);
  const headerAt = topicEnd + 1;
  const payloadAt = headerAt + HEADER_BYTES;
  const type = frame[headerAt];
  if (topicEnd < 1 || frame.length < payloadAt || type === undefined || !isDownlinkType(type)) return undefined;
  const version = frame.readDoubleLE(headerAt + 1);
  if (!Number.isSafeInteger(version) || version < 0) return undefined;
  return { deviceId: frame.toString('latin1', 0, topicEnd), type, version, payload: frame.subarray(payloadAt) };
}

function isDownlinkType(type: number): type is DownlinkType {
  return TYPES.includes(type);
}
