/**
 * All packets but PUBLISH of a device, by mqtt-packet: few and far between. It gets one whole packet at a time, so it holds
 * nothing between two, and whatever it makes of bad bytes becomes a ProtocolError.
 *
 * It is lenient where a property is repeated (a list comes out, whatever the types say) and where a text ends too early
 * (null), so what is read of it is looked at before it is believed.
 */
import mqttPacket, { type IConnectPacket, type Packet } from 'mqtt-packet';
import { messageOf } from '../../../shared/errors.js';
import { ProtocolError, Reason } from './reasons.js';

export type { IConnectPacket, ISubscribePacket, IUnsubscribePacket, Packet } from 'mqtt-packet';
export type Version = 4 | 5;

/** The packet types of the first byte's upper half. */
export const PacketType = {
  connect: 1,
  publish: 3,
  puback: 4,
  subscribe: 8,
  unsubscribe: 10,
  pingreq: 12,
  disconnect: 14,
} as const;

/**
 * Reads one whole packet, fixed header and all.
 * @throws ProtocolError where it is malformed
 */
export function readPacket(bytes: Buffer, version: Version): Packet {
  // Anew for each packet: after a CONNECT it goes by that one's version.
  const parser = mqttPacket.parser({ protocolVersion: version });
  let packet: Packet | undefined;
  let problem: string | undefined;
  parser.on('packet', (found) => (packet = found));
  parser.on('error', (error: Error) => (problem ??= error.message));
  try {
    parser.parse(bytes);
  } catch (error) {
    problem ??= messageOf(error);
  }
  if (problem === undefined && packet !== undefined && isWhole(packet)) return packet;
  throw new ProtocolError(Reason.malformed, `a malformed packet: ${problem ?? 'it ends too early'}`);
}

/** mqtt-packet lets pass what has no packet id, or a list of nothing, which is against MQTT 5, §3.8.3 and §3.10.3. */
function isWhole(packet: Packet): boolean {
  if (packet.cmd !== 'subscribe' && packet.cmd !== 'unsubscribe') return true;
  const { messageId = 0 } = packet;
  const count = packet.cmd === 'subscribe' ? packet.subscriptions.length : packet.unsubscriptions.length;
  return messageId > 0 && count > 0;
}

/**
 * Reads a CONNECT.
 * @throws ProtocolError unsupportedVersion for a version that is not served; malformed
 */
export function readConnect(bytes: Buffer, body: number): IConnectPacket & { protocolVersion: Version } {
  const isMqtt = bytes.toString('latin1', body + 2, body + 6) === 'MQTT' && bytes[body + 1] === 4 && bytes[body] === 0;
  const level = bytes[body + 6];
  if (!isMqtt || (level !== 4 && level !== 5)) {
    throw new ProtocolError(Reason.unsupportedVersion, 'this is not MQTT 3.1.1 or 5');
  }
  const packet = readPacket(bytes, level) as IConnectPacket;
  return { ...packet, protocolVersion: level };
}

/** The bytes of a packet to a device. */
export function writePacket(packet: Packet, version: Version): Buffer {
  return mqttPacket.generate(packet, { protocolVersion: version });
}

/** A number that a property may have; undefined where it is none or is there twice. */
export function numberOf(value: unknown): number | undefined {
  return typeof value === 'number' && value >= 0 ? value : undefined;
}
