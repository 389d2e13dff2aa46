/**
 * PUBLISH, read where it lies: the hot path. mqtt-packet, which reads all other packets, makes a string of every topic, an
 * object of all properties and a list of buffers of everything; here numbers say where things are. The tests hold this
 * against what mqtt-packet writes and reads.
 */
import { ProtocolError, Reason } from './reasons.js';

const QOS_SHIFT = 1;
const QOS_MASK = 3;
const DUP = 8;
const RETAIN = 1;

/** Properties that a PUBLISH of a device may have (MQTT 5, §3.3.2.3). */
const Property = {
  payloadFormat: 0x01,
  messageExpiry: 0x02,
  contentType: 0x03,
  responseTopic: 0x08,
  correlationData: 0x09,
  topicAlias: 0x23,
  user: 0x26,
} as const;

/** Longer values of `seq` and `time` are no numbers that count. */
const MAX_NUMBER_CHARACTERS = 32;

/** One object takes one packet after the other. */
export class Publish {
  qos = 0;
  isDup = false;
  isRetained = false;
  topicStart = 0;
  topicEnd = 0;
  /** 0 where QoS is 0. */
  packetId = 0;
  payloadStart = 0;
  payloadEnd = 0;
  /** 0: none. */
  topicAlias = 0;
  /** The user properties `seq` and `time`, as text. */
  seqText: string | undefined;
  timeText: string | undefined;

  /**
   * Reads a PUBLISH.
   * @param flags the packet's first byte
   * @param start of what follows the fixed header, to `end`
   * @throws ProtocolError where it is malformed
   */
  read(bytes: Buffer, flags: number, start: number, end: number, version: 4 | 5): void {
    this.qos = (flags >> QOS_SHIFT) & QOS_MASK;
    this.isDup = (flags & DUP) !== 0;
    this.isRetained = (flags & RETAIN) !== 0;
    if (this.qos === 3 || (this.qos === 0 && this.isDup)) throw malformed('its flags mean nothing');
    if (start + 2 > end) throw malformed('it has no topic');
    this.topicStart = start + 2;
    this.topicEnd = this.topicStart + ((bytes[start]! << 8) | bytes[start + 1]!);
    let at = this.topicEnd;
    if (at + (this.qos > 0 ? 2 : 0) > end) throw malformed('it ends within its topic');
    this.packetId = 0;
    if (this.qos > 0) {
      this.packetId = (bytes[at]! << 8) | bytes[at + 1]!;
      if (this.packetId === 0) throw malformed('its packet id is 0');
      at += 2;
    }
    this.topicAlias = 0;
    this.seqText = undefined;
    this.timeText = undefined;
    if (version === 5) at = bytes[at] === 0 && at < end ? at + 1 : this.#readProperties(bytes, at, end);
    this.payloadStart = at;
    this.payloadEnd = end;
  }

  /** @returns where the payload starts */
  #readProperties(bytes: Buffer, start: number, end: number): number {
    const from = endOfNumber(bytes, start, end);
    const to = from + numberAt(bytes, start, from);
    if (to > end) throw malformed('its properties are longer than it is');
    let seen = 0;
    for (let at = from; at < to;) {
      const property = bytes[at++]!;
      if (property !== Property.user) {
        // One bit for each of those above.
        const bit = 1 << (property % 30);
        if ((seen & bit) !== 0) throw new ProtocolError(Reason.protocolError, 'a property of PUBLISH is there twice');
        seen |= bit;
      }
      at = this.#readProperty(bytes, property, at, to);
    }
    return to;
  }

  /** @returns the end of the property's value */
  #readProperty(bytes: Buffer, property: number, at: number, to: number): number {
    switch (property) {
      case Property.payloadFormat:
        if (at < to && bytes[at]! > 1) throw new ProtocolError(Reason.protocolError, 'its payload format is neither');
        return within(at + 1, to);
      case Property.messageExpiry:
        return within(at + 4, to);
      case Property.topicAlias:
        within(at + 2, to);
        this.topicAlias = (bytes[at]! << 8) | bytes[at + 1]!;
        if (this.topicAlias === 0) throw new ProtocolError(Reason.badTopicAlias, 'a topic alias is 0');
        return at + 2;
      case Property.contentType:
      case Property.responseTopic:
      case Property.correlationData:
        return endOfText(bytes, at, to);
      case Property.user:
        return this.#readUserProperty(bytes, at, to);
      default:
        throw malformed(`it has a property ${property}`);
    }
  }

  #readUserProperty(bytes: Buffer, at: number, to: number): number {
    const nameEnd = endOfText(bytes, at, to);
    const valueEnd = endOfText(bytes, nameEnd, to);
    const nameBytes = nameEnd - at - 2;
    if (nameBytes === 3 || nameBytes === 4) {
      const name = bytes.toString('latin1', at + 2, nameEnd);
      const value = bytes.toString('latin1', nameEnd + 2, Math.min(valueEnd, nameEnd + 2 + MAX_NUMBER_CHARACTERS));
      if (name === 'seq') this.seqText = value;
      else if (name === 'time') this.timeText = value;
    }
    return valueEnd;
  }
}

function malformed(message: string): ProtocolError {
  return new ProtocolError(Reason.malformed, `a malformed PUBLISH: ${message}`);
}

function within(at: number, to: number): number {
  if (at > to) throw malformed('it ends within a property');
  return at;
}

/** The end of a text or of binary data, which begin with their length in two bytes. */
function endOfText(bytes: Buffer, at: number, to: number): number {
  within(at + 2, to);
  return within(at + 2 + ((bytes[at]! << 8) | bytes[at + 1]!), to);
}

/** The end of a number in the encoding of the packet's length. */
function endOfNumber(bytes: Buffer, start: number, end: number): number {
  for (let at = start; at < start + 4 && at < end; at++) if (bytes[at]! < 0x80) return at + 1;
  throw malformed('it ends within the length of its properties');
}

function numberAt(bytes: Buffer, start: number, end: number): number {
  let number = 0;
  for (let at = end - 1; at >= start; at--) number = number * 128 + (bytes[at]! & 0x7f);
  return number;
}
