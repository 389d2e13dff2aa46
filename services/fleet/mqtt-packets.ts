/**
 * The packets of MQTT 5 between a device and an edge, from the device's side. CONNECT, CONNACK and DISCONNECT are few and left
 * to mqtt-packet; PUBLISH is written and PUBACK read here, without an object a record.
 *
 *   PUBLISH  0x32 | remaining length | u16 length of the topic | topic | u16 packet id | 0 (no properties) | payload
 *   PUBACK   0x40 | remaining length | u16 packet id | reason code, where it is not 0 | properties
 */
import mqttPacket, { type Packet } from 'mqtt-packet';
import { HoldfastError, messageOf } from '../../shared/errors.js';
import type { ConnectionEnd, DeviceIdentity } from './connection.js';
import { MAX_RETRY_AFTER_MS } from './stream-connection.js';

export const PacketType = { connack: 2, puback: 4, pingresp: 13, disconnect: 14 } as const;
export const PINGREQ = Buffer.of(0xc0, 0);
export const DISCONNECT = Buffer.of(0xe0, 0);
export const KEEP_ALIVE_SECONDS = 60;
const PUBLISH_QOS1 = 0x32;
/** Of a topic with the longest id, and what stands around it. */
export const PUBLISH_HEAD_BYTES = 192;
/** No packet of an edge is longer. */
const MAX_PACKET_BYTES = 1024 * 1024;
const MAX_LENGTH_BYTES = 4;
const VERSION = { protocolVersion: 5 } as const;
const DEFAULT_RECEIVE_MAXIMUM = 65_535;
/** Reason codes of CONNACK that pass: unavailable, busy, shutting down, quota, rate. */
const PASSING: readonly number[] = [0x88, 0x89, 0x8b, 0x97, 0x9f];

/** The CONNECT of a device. */
export function connectPacket({ id, token }: DeviceIdentity): Buffer {
  const credential = token === undefined ? {} : { username: id, password: Buffer.from(token) };
  const connect = { cmd: 'connect', clientId: id, clean: true, keepalive: KEEP_ALIVE_SECONDS, ...VERSION } as const;
  return mqttPacket.generate({ ...connect, protocolId: 'MQTT', ...credential }, VERSION);
}

/**
 * Writes all of a PUBLISH that stands before its payload, so that it ends at `end`.
 * @returns where it starts
 */
export function writePublishHead(
  buffer: Buffer,
  end: number,
  topic: string,
  packetId: number,
  payloadBytes: number,
): number {
  const variable = 2 + topic.length + 3;
  const remaining = lengthDigits(variable + payloadBytes);
  const start = end - variable - remaining.length - 1;
  buffer[start] = PUBLISH_QOS1;
  let at = start + 1;
  for (const digit of remaining) buffer[at++] = digit;
  at = buffer.writeUInt16BE(topic.length, at);
  at += buffer.write(topic, at, 'latin1');
  at = buffer.writeUInt16BE(packetId, at);
  buffer[at] = 0;
  return start;
}

/** Called with each packet: its type, what follows its length, and all of it; valid during the call. */
export type OnPacket = (type: number, body: Buffer, packet: Buffer) => boolean;

/**
 * Reads the whole packets in `bytes[..end)`.
 * @returns where the first starts that is not whole, or that `onPacket` was the last to want
 * @throws HoldfastError bad_frame
 */
export function readPackets(bytes: Buffer, end: number, onPacket: OnPacket): number {
  let at = 0;
  while (end - at >= 2) {
    let length = 0;
    let body = at + 1;
    for (let scale = 1; ; scale *= 128) {
      if (body === end) return at;
      if (body - at > MAX_LENGTH_BYTES) throw badPacket('its length is malformed');
      const digit = bytes[body++]!;
      length += (digit & 0x7f) * scale;
      if (digit < 0x80) break;
    }
    if (length > MAX_PACKET_BYTES) throw badPacket(`it has ${length} bytes`);
    if (body + length > end) return at;
    const start = at;
    at = body + length;
    if (!onPacket(bytes[start]! >> 4, bytes.subarray(body, at), bytes.subarray(start, at))) break;
  }
  return at;
}

export interface Puback {
  readonly packetId: number;
  readonly reason: number;
}

/** @param body of a PUBACK @throws HoldfastError bad_frame */
export function readPuback(body: Buffer): Puback {
  if (body.length < 2) throw badPacket(`a PUBACK of ${body.length} bytes`);
  return { packetId: body.readUInt16BE(0), reason: body[2] ?? 0 };
}

export interface Welcome {
  /** Publishes that may be unanswered. */
  readonly receiveMaximum: number;
}

/** Reads a CONNACK: let in, or why not and when to come back. @throws HoldfastError bad_frame */
export function readConnack(packet: Buffer): Welcome | ConnectionEnd {
  const connack = parse(packet);
  if (connack.cmd !== 'connack') throw badPacket(`${connack.cmd} instead of a CONNACK`);
  const { reasonCode = connack.returnCode ?? 0, properties = {} } = connack;
  if (reasonCode === 0) return { receiveMaximum: properties.receiveMaximum ?? DEFAULT_RECEIVE_MAXIMUM };
  const seconds = properties.userProperties?.['retry-after'];
  const isSeconds = typeof seconds === 'string' && /^\d{1,9}$/.test(seconds);
  return {
    reason: `the edge answered CONNECT with 0x${reasonCode.toString(16)}: ${properties.reasonString ?? ''}`,
    retryAfterMs: isSeconds ? Math.min(Number(seconds) * 1_000, MAX_RETRY_AFTER_MS) : undefined,
    isRefused: !PASSING.includes(reasonCode),
  };
}

/** Reads a DISCONNECT of the edge. @throws HoldfastError bad_frame */
export function readDisconnect(packet: Buffer): ConnectionEnd {
  const disconnect = parse(packet);
  if (disconnect.cmd !== 'disconnect') throw badPacket(`${disconnect.cmd} instead of a DISCONNECT`);
  const { reasonCode = 0, properties } = disconnect;
  const said = properties?.reasonString ?? '';
  const asked = /^retry-after:(\d{1,12})$/.exec(said)?.[1];
  return {
    reason: `the edge disconnected with 0x${reasonCode.toString(16)} ${said}`,
    retryAfterMs: asked === undefined ? undefined : Math.min(Number(asked), MAX_RETRY_AFTER_MS),
    isRefused: false,
  };
}

function lengthDigits(bytes: number): number[] {
  const digits: number[] = [];
  for (let rest = bytes; ; rest >>= 7) {
    digits.push(rest > 127 ? (rest & 127) | 128 : rest);
    if (rest <= 127) return digits;
  }
}

function parse(packet: Buffer): Packet {
  const parser = mqttPacket.parser(VERSION);
  let found: Packet | undefined;
  let problem: string | undefined;
  parser.on('packet', (each) => (found = each));
  parser.on('error', (error: Error) => (problem ??= error.message));
  try {
    parser.parse(packet);
  } catch (error) {
    problem ??= messageOf(error);
  }
  if (problem !== undefined || found === undefined) throw badPacket(problem ?? 'it ends too early');
  return found;
}

function badPacket(what: string): HoldfastError {
  return new HoldfastError('bad_frame', `not a packet that an edge sends: ${what}`, false);
}
