/**
 * A client of a load over MQTT 3.1.1, QoS 1: PUBLISH frames made beforehand, PUBACKs counted. A server acks in the order in
 * which it was sent to (MQTT 3.1.1, 4.6), so packet ids are held against that order.
 *
 *   PUBLISH  0x32 | remaining length | topic | u16 packet id | payload
 */
import { LoadConnection } from '../load-connection.js';
import { makePayload, type FrameShape } from '../record-block.js';

const CONNACK = 0x20;
const PUBACK = 0x40;
const ACK_BYTES = 4;
const MAX_PACKET_ID = 65_535;
/** Holdfast and ThingsBoard know it as the telemetry of whoever is connected; to a broker it is a topic like any. */
const TOPIC = 'v1/devices/me/telemetry';

export class MqttConnection extends LoadConnection {
  protected override connected(): void {
    const clientId = text(`bench-${this.index}`);
    const variable = Buffer.concat([text('MQTT'), Buffer.from([4, 2, 0, 0]), clientId]);
    this.socket.write(Buffer.concat([Buffer.from([0x10, variable.length]), variable]));
  }

  protected override consume(bytes: Buffer, end: number): number {
    let at = 0;
    let acked = this.acked;
    for (; at + ACK_BYTES <= end; at += ACK_BYTES) {
      if (bytes[at] === PUBACK && bytes[at + 1] === 2) {
        if (bytes.readUInt16BE(at + 2) !== packetId(++acked)) throw new Error(`${this.index}: a PUBACK out of order`);
      } else if (bytes[at] === CONNACK && bytes[at + 1] === 2 && bytes[at + 3] === 0) {
        this.ready();
      } else {
        throw new Error(`MQTT connection ${this.index}: ${bytes.toString('hex', at, Math.min(end, at + 32))}`);
      }
    }
    if (acked > this.acked) this.ackedThrough(acked);
    return at;
  }
}

export function mqttShape(payloadBytes: number): FrameShape {
  const topic = text(TOPIC);
  const payload = makePayload(payloadBytes);
  const remaining = remainingLength(topic.length + 2 + payload.length);
  const head = Buffer.concat([Buffer.from([0x32]), remaining, topic]);
  return {
    frame: Buffer.concat([head, Buffer.alloc(2), payload]),
    recordsAFrame: 1,
    writeSeq: (view, at, seq) => view.setUint16(at + head.length, packetId(seq)),
  };
}

/** 1 to 65,535, over and over. */
function packetId(seq: number): number {
  return ((seq - 1) % MAX_PACKET_ID) + 1;
}

function text(value: string): Buffer {
  const bytes = Buffer.from(value);
  return Buffer.concat([Buffer.from([bytes.length >> 8, bytes.length & 0xff]), bytes]);
}

function remainingLength(bytes: number): Buffer {
  const digits: number[] = [];
  for (let rest = bytes; ; rest >>= 7) {
    digits.push(rest > 127 ? (rest & 127) | 128 : rest);
    if (rest <= 127) return Buffer.from(digits);
  }
}
