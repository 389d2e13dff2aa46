/** The edge's words to a device, in each protocol: hello, ack, error. */
import type { RecordErrorCode } from './session.js';

/** First bytes of the binary frames that go to a device: u8 type, u8[7] 0, f64 seq or version, JSON payload. */
const DownType = { ack: 1, error: 2, hello: 5 } as const;

const DOWN_HEADER_BYTES = 16;

/** One protocol's encoder. What it returns is valid until its next call, and is sent at once. */
export interface ReplyEncoder {
  readonly isBinary: boolean;
  hello(deviceId: string, windowBytes: number): string | Buffer;
  ack(seq: number): string | Buffer;
  error(code: RecordErrorCode, message: string, seq: number | undefined): string | Buffer;
}

export const jsonReplies: ReplyEncoder = {
  isBinary: false,
  hello: (device, window) => JSON.stringify({ hello: { device, window } }),
  ack: (seq) => `{"ack":${seq}}`,
  error: (code, message, seq) => JSON.stringify({ error: { code, message, seq } }),
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
};

function downFrame(type: number, seq: number, payload: string): Buffer {
  const frame = Buffer.alloc(DOWN_HEADER_BYTES + Buffer.byteLength(payload));
  frame[0] = type;
  frame.writeDoubleLE(seq, 8);
  frame.write(payload, DOWN_HEADER_BYTES);
  return frame;
}
