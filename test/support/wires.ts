/**
 * What passed over an edge's sockets, read from the bytes of its system calls: the records that came, and the acks that left,
 * in each protocol's own words. Written anew for the tests, so that a mistake of the edge's codecs is not made twice.
 */
import mqttPacket, { type Packet } from 'mqtt-packet';

export interface WireRecord {
  readonly seq: number;
  readonly payload: Buffer;
  /** Whose it is, where a socket has several devices. */
  readonly deviceId?: string;
}

export interface WireAck {
  readonly says: string;
  readonly covers: (record: WireRecord) => boolean;
}

/** A socket of the edge with devices at its other end. */
export interface Wire {
  /** Bytes of one call were read from it. */
  received(bytes: Buffer): readonly WireRecord[];
  /** Bytes of one call are written to it. */
  sent(bytes: Buffer): readonly WireAck[];
}

/** The wire that begins with these bytes; undefined: nobody whose records matter, as who asks for metrics. */
export function wireOf(first: Buffer): Wire | undefined {
  const start = first.toString('latin1', 0, 100);
  if (start.startsWith('GET /v1/devices/')) return new WebSocketWire(new HoldfastMessages());
  if (start.startsWith('GET /mqtt ')) return new WebSocketWire(new MqttWire());
  if (start.startsWith('POST /v1/devices/')) return new HttpWire();
  return start.startsWith('\x10') ? new MqttWire() : undefined;
}

interface RecordText {
  readonly seq: number;
  readonly data: unknown;
}

/** Records of JSON, one or a list, whose payloads were written without spaces. */
function jsonRecords(text: string): WireRecord[] {
  const value = JSON.parse(text) as RecordText | readonly RecordText[];
  return [value].flat().map(({ seq, data }) => ({ seq, payload: Buffer.from(JSON.stringify(data)) }));
}

/** The records of a binary frame. */
function binaryRecords(frame: Buffer, deviceId?: string): WireRecord[] {
  const records = [];
  for (let at = 0; at + 24 <= frame.length; at += 4 + frame.readUInt32LE(at)) {
    const end = at + 4 + frame.readUInt32LE(at);
    const from = deviceId === undefined ? {} : { deviceId };
    records.push({ seq: frame.readDoubleLE(at + 8), payload: frame.subarray(at + 24, end), ...from });
  }
  return records;
}

/** What is said in the messages of a WebSocket. */
interface Messages {
  up(message: Buffer, isText: boolean): readonly WireRecord[];
  down(message: Buffer, isText: boolean): readonly WireAck[];
}

/** The device protocol: acks are cumulative. */
class HoldfastMessages implements Messages {
  up(message: Buffer, isText: boolean): WireRecord[] {
    return isText ? jsonRecords(message.toString()) : binaryRecords(message);
  }

  down(message: Buffer, isText: boolean): WireAck[] {
    const through = isText
      ? (JSON.parse(message.toString()) as { ack?: number }).ack
      : message[0] === 1 && message.length === 16
        ? message.readDoubleLE(8)
        : undefined;
    return through === undefined ? [] : [{ says: `ack ${through}`, covers: ({ seq }) => seq <= through }];
  }
}

const TEXT = 1;
const BINARY = 2;

/** One direction of a WebSocket: takes bytes, gives whole messages; pings and closes are passed over. */
class FrameReader {
  #buffer = Buffer.alloc(0);
  #inHead = true;

  *take(bytes: Buffer): Generator<readonly [message: Buffer, isText: boolean]> {
    this.#buffer = Buffer.concat([this.#buffer, bytes]);
    if (this.#inHead) {
      const end = this.#buffer.indexOf('\r\n\r\n');
      if (end < 0) return;
      this.#inHead = false;
      this.#buffer = this.#buffer.subarray(end + 4);
    }
    for (let frame = this.#next(); frame !== undefined; frame = this.#next()) {
      const { opcode, payload } = frame;
      if (opcode === TEXT || opcode === BINARY) yield [payload, opcode === TEXT];
    }
  }

  #next(): { readonly opcode: number; readonly payload: Buffer } | undefined {
    const buffer = this.#buffer;
    if (buffer.length < 2) return undefined;
    const short = buffer[1]! & 0x7f;
    const lengthBytes = short === 126 ? 2 : short === 127 ? 8 : 0;
    const maskBytes = (buffer[1]! & 0x80) === 0 ? 0 : 4;
    const start = 2 + lengthBytes + maskBytes;
    if (buffer.length < start) return undefined;
    const length = lengthBytes === 0 ? short : Number(`0x${buffer.toString('hex', 2, 2 + lengthBytes)}`);
    if (buffer.length < start + length) return undefined;
    const payload = Buffer.from(buffer.subarray(start, start + length));
    if (maskBytes > 0) payload.forEach((byte, at) => (payload[at] = byte ^ buffer[start - 4 + (at % 4)]!));
    this.#buffer = buffer.subarray(start + length);
    return { opcode: buffer[0]! & 0x0f, payload };
  }
}

class WebSocketWire implements Wire {
  readonly #up = new FrameReader();
  readonly #down = new FrameReader();

  constructor(private readonly messages: Messages) {}

  received(bytes: Buffer): WireRecord[] {
    return [...this.#up.take(bytes)].flatMap(([message, isText]) => this.messages.up(message, isText));
  }

  sent(bytes: Buffer): WireAck[] {
    return [...this.#down.take(bytes)].flatMap(([message, isText]) => this.messages.down(message, isText));
  }
}

/** MQTT 5: a PUBACK is for the records of its publish. */
class MqttWire implements Wire, Messages {
  readonly #up = new PacketReader();
  readonly #down = new PacketReader();
  /** The seqs of each publish. */
  readonly #seqs = new Map<number, readonly number[]>();

  received(bytes: Buffer): WireRecord[] {
    return this.#up.take(bytes).flatMap((packet) => {
      if (packet.cmd !== 'publish') return [];
      const records = jsonRecords(packet.payload.toString());
      this.#seqs.set(
        packet.messageId!,
        records.map(({ seq }) => seq),
      );
      return records;
    });
  }

  sent(bytes: Buffer): WireAck[] {
    return this.#down.take(bytes).flatMap((packet) => {
      if (packet.cmd !== 'puback' || (packet.reasonCode ?? 0) !== 0) return [];
      const seqs = this.#seqs.get(packet.messageId!) ?? [];
      return [{ says: `PUBACK ${packet.messageId}`, covers: ({ seq }) => seqs.includes(seq) }];
    });
  }

  up(message: Buffer): WireRecord[] {
    return this.received(message);
  }

  down(message: Buffer): WireAck[] {
    return this.sent(message);
  }
}

class PacketReader {
  #packets: Packet[] = [];
  readonly #parser = mqttPacket.parser({ protocolVersion: 5 }).on('packet', (packet) => this.#packets.push(packet));

  take(bytes: Buffer): readonly Packet[] {
    this.#packets = [];
    this.#parser.parse(bytes);
    return this.#packets;
  }
}

/** HTTP: each answer is for the request in its turn. */
class HttpWire implements Wire {
  readonly #up = new BodyReader();
  readonly #down = new BodyReader();
  readonly #requests: (readonly number[])[] = [];

  received(bytes: Buffer): WireRecord[] {
    return this.#up.take(bytes).flatMap(([, body]) => {
      const records = jsonRecords(body);
      this.#requests.push(records.map(({ seq }) => seq));
      return records;
    });
  }

  sent(bytes: Buffer): WireAck[] {
    return this.#down.take(bytes).flatMap(([head, body]) => {
      const seqs = this.#requests.shift() ?? [];
      const { ack } = JSON.parse(body) as { ack?: number };
      if (!head.startsWith('HTTP/1.1 200') || ack === undefined) return [];
      return [{ says: `200 for ${ack}`, covers: ({ seq }) => seqs.includes(seq) }];
    });
  }
}

/** One direction of HTTP whose messages say how long their bodies are. */
class BodyReader {
  #buffer = Buffer.alloc(0);

  take(bytes: Buffer): (readonly [head: string, body: string])[] {
    this.#buffer = Buffer.concat([this.#buffer, bytes]);
    const messages: (readonly [string, string])[] = [];
    for (;;) {
      const end = this.#buffer.indexOf('\r\n\r\n');
      if (end < 0) return messages;
      const head = this.#buffer.toString('latin1', 0, end);
      const length = /^content-length: (\d+)/im.exec(head)?.[1];
      if (length === undefined) throw new Error(`a message does not say how long it is: ${head}`);
      const bodyEnd = end + 4 + Number(length);
      if (this.#buffer.length < bodyEnd) return messages;
      messages.push([head, this.#buffer.toString('utf8', end + 4, bodyEnd)]);
      this.#buffer = this.#buffer.subarray(bodyEnd);
    }
  }
}

const HMAC_BYTES = 16;

/** Datagrams, one a call: an ack names the seqs of one device. */
export class UdpWire implements Wire {
  static isFirst(bytes: Buffer): boolean {
    return bytes.toString('latin1', 0, 4) === 'HFU1';
  }

  received(bytes: Buffer): WireRecord[] {
    const [deviceId, body] = parts(bytes);
    return binaryRecords(body, deviceId);
  }

  sent(bytes: Buffer): WireAck[] {
    if (bytes.toString('latin1', 0, 4) !== 'HFA1') return [];
    const [deviceId, body] = parts(bytes);
    const [first, last, bitmap] = [body.readDoubleLE(0), body.readDoubleLE(8), body.readUInt32LE(16)];
    const names = (seq: number): boolean =>
      (seq >= first && seq <= last) ||
      (seq >= last + 2 && seq < last + 34 && ((bitmap >>> (seq - last - 2)) & 1) === 1);
    const covers = (record: WireRecord): boolean => record.deviceId === deviceId && names(record.seq);
    return [{ says: `ack ${first} to ${last} of ${deviceId}`, covers }];
  }
}

function parts(datagram: Buffer): readonly [deviceId: string, body: Buffer] {
  const start = 5 + datagram[4]!;
  return [datagram.toString('latin1', 5, start), datagram.subarray(start, datagram.length - HMAC_BYTES)];
}
