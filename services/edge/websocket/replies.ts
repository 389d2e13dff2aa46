/** The edge's words to a device, in each protocol: hello, ack, error, and what shadow says through it. */
import { DownlinkType, type DownlinkMessage } from '../../../shared/downlink-frames.js';
import type { RecordErrorCode } from '../session.js';

/**
 * First bytes of the binary frames that go to a device: u8 type, u8[7] 0, f64 seq or version, JSON payload. What comes from
 * shadow keeps its type.
 */
const DownType = { ack: 1, error: 2, hello: 5 } as const;

const DOWN_HEADER_BYTES = 16;

/** One protocol's encoder. What it returns is valid until its next call, and is sent at once. */
export interface ReplyEncoder {
  readonly isBinary: boolean;
  hello(deviceId: string, windowBytes: number): string | Buffer;
  ack(seq: number): string | Buffer;
  error(code: RecordErrorCode, message: string, seq: number | undefined): string | Buffer;
  /** A question for the shadow that will not be answered. */
  refusal(message: string): string | Buffer;
  /** What shadow says to the device. */
  downlink(message: DownlinkMessage): string | Buffer;
}

function refusalOf(message: string): object {
  return { code: 'refused', message, get: 'shadow' };
}

export const jsonReplies: ReplyEncoder = {
  isBinary: false,
  hello: (device, window) => JSON.stringify({ hello: { device, window } }),
  ack: (seq) => `{"ack":${seq}}`,
  error: (code, message, seq) => JSON.stringify({ error: { code, message, seq } }),
  refusal: (message) => JSON.stringify({ error: refusalOf(message) }),
  downlink: ({ type, version, payload }) => {
    const json = payload.toString('utf8');
    if (type === DownlinkType.delta) return `{"delta":${json},"version":${version}}`;
    return type === DownlinkType.command ? `{"command":${json}}` : `{"shadow":${json}}`;
  },
};

const ackFrame = downFrame(DownType.ack, 0, '');

export const binaryReplies: ReplyEncoder = {
  isBinary: true,
  hello: (device, window) => downFrame(DownType.hello, 0, JSON.stringify({ device, window })),
  ack: (seq) => {
    ackFrame.writeDoubleLE(seq, 8);
    return ackFrame;
  },
  error: (code, message, seq) => downFrame(DownType.error, seq ?? 0, JSON.stringify({ code, message })),
  refusal: (message) => downFrame(DownType.error, 0, JSON.stringify(refusalOf(message))),
  downlink: ({ type, version, payload }) => downFrame(type, version, payload),
};

function downFrame(type: number, number: number, payload: string | Buffer): Buffer {
  const header = Buffer.alloc(DOWN_HEADER_BYTES);
  header[0] = type;
  header.writeDoubleLE(number, 8);
  return Buffer.concat([header, Buffer.isBuffer(payload) ? payload : Buffer.from(payload)]);
}
