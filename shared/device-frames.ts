/**
 * The messages between a device and an edge, as bytes and as text (DESIGN, device protocol), from the device's side.
 *
 *   up, binary     u32 size of what follows | u8 kind | u8[3] 0 | f64 seq | f64 time, ms (0: the edge's clock) | payload
 *   up, JSON       {"seq":17,"time":1732112345678,"data":…}, or an array of them; "report" and "result" instead of "data"
 *   a question     {"get":"shadow"}; binary: kind 6, seq 0, time 0, no payload
 *   down, binary   u8 type | u8[7] 0 | f64 seq or version (0: none) | payload, the JSON value that the key names in JSON
 *   down, JSON     {"ack":17}, {"error":{…}}, {"delta":{…},"version":7}, {"command":{…}}, {"shadow":{…}} or null, {"hello":{…}}
 *
 * A record is kept as its binary frame from the moment it is sent until it is acked: in memory, in the file buffer and, for
 * the binary protocol, on the wire it is the same bytes.
 */
import { Kind, MAX_PAYLOAD_BYTES } from './batch.js';
import { HoldfastError } from './errors.js';

export const FRAME_HEADER_BYTES = 24;
/** The size that the smallest record's size field says. */
export const MIN_FRAME_SIZE = FRAME_HEADER_BYTES - 4;
export const MAX_FRAME_BYTES = FRAME_HEADER_BYTES + MAX_PAYLOAD_BYTES;
export const DOWN_HEADER_BYTES = 16;
/** The kind of the frame by which a device asks for its shadow; it is no record. */
export const GET_KIND = 6;

/** What a device may say; `online` and `offline` are the edge's own. */
export type DeviceKind = 'telemetry' | 'report' | 'result';

/** The types of binary messages to a device. */
export const DownType = { ack: 1, error: 2, delta: 3, command: 4, hello: 5, shadow: 6 } as const;

/** An object as JSON.parse makes it. */
export type JsonObject = Readonly<Record<string, unknown>>;

/** A message from the edge. */
export type DownMessage =
  | { readonly type: 'ack'; readonly seq: number }
  | {
      readonly type: 'error';
      readonly code: string;
      readonly message: string;
      readonly seq: number | undefined;
      /** The question that is refused, where it is about one and not about records. */
      readonly get: string | undefined;
    }
  | { readonly type: 'delta'; readonly delta: unknown; readonly version: number }
  | { readonly type: 'command'; readonly command: DeviceCommand }
  | { readonly type: 'shadow'; readonly shadow: JsonObject | null }
  | { readonly type: 'hello'; readonly device: string; readonly windowBytes: number };

/** What the cloud asks of a device; the answer is a record of kind `result` with the same id. */
export interface DeviceCommand {
  readonly id: string;
  readonly name: string;
  readonly data: unknown;
  /** ms since 1970 after which nobody waits for the result any more. */
  readonly expires: number | undefined;
}

/** One record as a binary frame, in memory of its own. */
export function encodeRecordFrame(kind: DeviceKind, seq: number, timeMs: number, payload: Uint8Array): Buffer {
  const frame = Buffer.allocUnsafe(FRAME_HEADER_BYTES + payload.length);
  frame.writeUInt32LE(frame.length - 4, 0);
  frame.writeUInt32LE(Kind[kind], 4);
  frame.writeDoubleLE(seq, 8);
  frame.writeDoubleLE(timeMs, 16);
  frame.set(payload, FRAME_HEADER_BYTES);
  return frame;
}

/** The seq of a record's frame. */
export function frameSeq(frame: Buffer): number {
  return frame.readDoubleLE(8);
}

const JSON_KEYS: Readonly<Record<number, string>> = {
  [Kind.telemetry]: 'data',
  [Kind.report]: 'report',
  [Kind.result]: 'result',
};

/** The JSON message for records given as frames: one object, or an array where there are several. */
export function encodeJsonMessage(frames: readonly Buffer[]): Buffer {
  const parts: Buffer[] = [];
  const single = frames.length === 1;
  frames.forEach((frame, index) => {
    const before = single ? '' : index === 0 ? '[' : ',';
    const key = JSON_KEYS[frame[4]!]!;
    const head = `${before}{"seq":${frameSeq(frame)},"time":${frame.readDoubleLE(16)},"${key}":`;
    parts.push(Buffer.from(head), frame.subarray(FRAME_HEADER_BYTES), Buffer.from('}'));
  });
  if (!single) parts.push(Buffer.from(']'));
  return Buffer.concat(parts);
}

/** The message by which a device asks for its shadow. */
export function encodeQuestion(binary: boolean): Buffer {
  if (!binary) return Buffer.from('{"get":"shadow"}');
  const frame = Buffer.alloc(FRAME_HEADER_BYTES);
  frame.writeUInt32LE(MIN_FRAME_SIZE, 0);
  frame[4] = GET_KIND;
  return frame;
}

/**
 * Reads a binary message from the edge.
 * @throws HoldfastError bad_frame
 */
export function decodeDownFrame(frame: Buffer): DownMessage {
  if (frame.length < DOWN_HEADER_BYTES) throw badFrame(`${frame.length} bytes, at least ${DOWN_HEADER_BYTES} expected`);
  const number = frame.readDoubleLE(8);
  const type = frame.readUInt8(0);
  switch (type) {
    case DownType.ack:
      return { type: 'ack', seq: whole(number, 'the seq of an ack') };
    case DownType.error:
      return readError(parseObject(frame.subarray(DOWN_HEADER_BYTES), 'an error'), number === 0 ? undefined : number);
    case DownType.delta: {
      const delta = parseObject(frame.subarray(DOWN_HEADER_BYTES), 'a delta');
      return { type: 'delta', delta, version: whole(number, 'the version of a delta') };
    }
    case DownType.command:
      return readCommand(parseObject(frame.subarray(DOWN_HEADER_BYTES), 'a command'));
    case DownType.hello:
      return readHello(parseObject(frame.subarray(DOWN_HEADER_BYTES), 'a hello'));
    case DownType.shadow:
      return readShadow(parse(frame.subarray(DOWN_HEADER_BYTES), 'a shadow'));
    default:
      throw badFrame(`type ${type} is not known`);
  }
}

/**
 * Reads a JSON message from the edge.
 * @throws HoldfastError bad_frame
 */
export function decodeDownText(text: Buffer): DownMessage {
  const message = parseObject(text, 'a message');
  if ('ack' in message) return { type: 'ack', seq: whole(message['ack'], 'the seq of an ack') };
  if ('error' in message) {
    const error = objectOf(message['error'], 'an error');
    return readError(error, error['seq']);
  }
  if ('delta' in message) {
    const delta = objectOf(message['delta'], 'a delta');
    return { type: 'delta', delta, version: whole(message['version'], 'the version of a delta') };
  }
  if ('command' in message) return readCommand(objectOf(message['command'], 'a command'));
  if ('shadow' in message) return readShadow(message['shadow']);
  if ('hello' in message) return readHello(objectOf(message['hello'], 'a hello'));
  throw badFrame(`it has none of the known keys, but ${Object.keys(message).slice(0, 4).join(', ')}`);
}

function readError(error: JsonObject, seq: unknown): DownMessage {
  const code = textOf(error['code'], 'the code of an error');
  const message = textOf(error['message'], 'the message of an error');
  const get = error['get'] === undefined ? undefined : textOf(error['get'], 'the question of an error');
  return { type: 'error', code, message, seq: seq === undefined ? undefined : whole(seq, 'the seq of an error'), get };
}

function readCommand(command: JsonObject): DownMessage {
  const expires = command['expires'];
  return {
    type: 'command',
    command: {
      id: textOf(command['id'], 'the id of a command'),
      name: textOf(command['name'], 'the name of a command'),
      data: command['data'],
      expires: expires === undefined ? undefined : whole(expires, 'the time of a command'),
    },
  };
}

function readHello(hello: JsonObject): DownMessage {
  const device = textOf(hello['device'], 'the device of a hello');
  return { type: 'hello', device, windowBytes: whole(hello['window'], 'the window of a hello') };
}

function readShadow(value: unknown): DownMessage {
  return { type: 'shadow', shadow: value === null ? null : objectOf(value, 'a shadow') };
}

function parseObject(text: Buffer, what: string): JsonObject {
  return objectOf(parse(text, what), what);
}

function parse(text: Buffer, what: string): unknown {
  try {
    return JSON.parse(text.toString('utf8'));
  } catch (error) {
    throw new HoldfastError('bad_frame', `not a message of an edge: ${what} is not JSON`, false, error);
  }
}

function objectOf(value: unknown, what: string): JsonObject {
  if (!isObject(value)) throw badFrame(`${what} is not an object`);
  return value;
}

function isObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function textOf(value: unknown, what: string): string {
  if (typeof value !== 'string') throw badFrame(`${what} is not text`);
  return value;
}

function whole(value: unknown, what: string): number {
  if (typeof value !== 'number' || !Number.isSafeInteger(value) || value < 0) {
    throw badFrame(`${what} is not a whole number`);
  }
  return value;
}

function badFrame(what: string): HoldfastError {
  return new HoldfastError('bad_frame', `not a message of an edge: ${what}`, false);
}
