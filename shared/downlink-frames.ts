/**
 * The frames of the downlink: shadow's XPUB socket ← every edge's XSUB socket, one subscription a connected device.
 *
 *   edge → shadow   subscription  1 | topic          the device is here, on a new connection
 *                   cancellation  0 | topic          it is gone
 *                   question      2 | device id      the device asks for its shadow (a user message of XSUB)
 *   shadow → edge   topic, header, payload: three frames; topic is `<device id>\0`, so that none is the start of another
 *     header        u8 type (3 delta, 4 command, 6 shadow: those of the device protocol) | f64 version of the delta, or 0
 *     payload       JSON in UTF-8: the delta, the command, the shadow (`null` where the device has none)
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

/** The three frames of a message to a device. */
export function encodeDownlink(
  deviceId: string,
  type: DownlinkType,
  version: number,
  payload: Buffer | string,
): (Buffer | string)[] {
  const header = Buffer.allocUnsafe(HEADER_BYTES);
  header[0] = type;
  header.writeDoubleLE(version, 1);
  return [downlinkTopic(deviceId), header, payload];
}

/** @returns undefined where the frames are no message to a device */
export function decodeDownlink([topic, header, payload]: readonly Buffer[]): DownlinkMessage | undefined {
  if (topic === undefined || header === undefined || payload === undefined) return undefined;
  const type = header[0];
  if (header.length !== HEADER_BYTES || type === undefined || !isDownlinkType(type)) return undefined;
  const version = header.readDoubleLE(1);
  if (topic.length < 2 || topic.at(-1) !== 0 || !Number.isSafeInteger(version) || version < 0) return undefined;
  return { deviceId: topic.toString('latin1', 0, topic.length - 1), type, version, payload };
}

function isDownlinkType(type: number): type is DownlinkType {
  return TYPES.includes(type);
}
