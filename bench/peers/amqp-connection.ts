/**
 * A client of a load on RabbitMQ, AMQP 0-9-1: persistent messages to one durable queue on a channel in confirm mode, and the
 * confirms counted. A confirm names its delivery tag, alone or with all before it, and may overtake another.
 *
 * A frame is u8 type | u16 channel | u32 size | payload | u8 0xCE; a message is a frame of method, header and body each.
 */
import { LoadConnection } from '../load-connection.js';
import { makePayload, noSeq, type FrameShape } from '../record-block.js';

export const AMQP_QUEUE = 'telemetry';

const FrameType = { method: 1, header: 2, body: 3, heartbeat: 8 } as const;
const FRAME_HEADER_BYTES = 7;
const FRAME_END = 0xce;
const CHANNEL = 1;

/** Class and method, as one number. */
const Method = {
  start: (10 << 16) | 10,
  startOk: (10 << 16) | 11,
  tune: (10 << 16) | 30,
  tuneOk: (10 << 16) | 31,
  open: (10 << 16) | 40,
  openOk: (10 << 16) | 41,
  channelOpen: (20 << 16) | 10,
  channelOpenOk: (20 << 16) | 11,
  declare: (50 << 16) | 10,
  declareOk: (50 << 16) | 11,
  publish: (60 << 16) | 40,
  ack: (60 << 16) | 80,
  select: (85 << 16) | 10,
  selectOk: (85 << 16) | 11,
} as const;

export class AmqpConnection extends LoadConnection {
  readonly #early = new Set<number>();

  protected override connected(): void {
    this.socket.write(Buffer.from('AMQP\0\0\x09\x01', 'latin1'));
  }

  protected override consume(bytes: Buffer, end: number): number {
    let at = 0;
    let acked = this.acked;
    while (at + FRAME_HEADER_BYTES <= end) {
      const size = bytes.readUInt32BE(at + 3);
      const payload = at + FRAME_HEADER_BYTES;
      if (payload + size + 1 > end) break;
      if (bytes[at] === FrameType.method) {
        if (bytes.readUInt32BE(payload) === Method.ack) acked = this.#confirmed(bytes, payload + 4, acked);
        else this.#method(bytes, payload, payload + size);
      } else if (bytes[at] !== FrameType.heartbeat) {
        throw new Error(`AMQP connection ${this.index}: a frame of type ${String(bytes[at])}`);
      }
      at = payload + size + 1;
    }
    if (acked > this.acked) this.ackedThrough(acked);
    return at;
  }

  /** @returns the tag up to which all are confirmed now */
  #confirmed(bytes: Buffer, at: number, acked: number): number {
    const tag = Number(bytes.readBigUInt64BE(at));
    const isAll = bytes[at + 8] === 1;
    let through = acked;
    if (isAll) through = Math.max(acked, tag);
    else if (tag === acked + 1) through = tag;
    else this.#early.add(tag);
    while (this.#early.size > 0 && this.#early.delete(through + 1)) through++;
    return through;
  }

  #method(bytes: Buffer, at: number, end: number): void {
    switch (bytes.readUInt32BE(at)) {
      case Method.start:
        this.#say(0, Method.startOk, table(), shortText('PLAIN'), longText('\0guest\0guest'), shortText('en_US'));
        return;
      case Method.tune:
        // The server's own limits, but no heartbeats.
        this.#say(0, Method.tuneOk, bytes.subarray(at + 4, at + 10), Buffer.alloc(2));
        this.#say(0, Method.open, shortText('/'), shortText(''), Buffer.from([0]));
        return;
      case Method.openOk:
        this.#say(CHANNEL, Method.channelOpen, shortText(''));
        return;
      case Method.channelOpenOk:
        this.#say(CHANNEL, Method.declare, Buffer.alloc(2), shortText(AMQP_QUEUE), Buffer.from([2]), table());
        return;
      case Method.declareOk:
        this.#say(CHANNEL, Method.select, Buffer.from([0]));
        return;
      case Method.selectOk:
        this.ready();
        return;
      default:
        throw new Error(`AMQP connection ${this.index}: ${bytes.toString('latin1', at, end)}`);
    }
  }

  #say(channel: number, method: number, ...words: readonly Buffer[]): void {
    this.socket.write(methodFrame(channel, method, ...words));
  }
}

export function amqpShape(payloadBytes: number): FrameShape {
  const payload = makePayload(payloadBytes);
  const header = Buffer.alloc(15);
  header.writeUInt16BE(60, 0);
  header.writeBigUInt64BE(BigInt(payload.length), 4);
  // The one property that is set is the delivery mode, and that is: persistent.
  header.writeUInt16BE(0x1000, 12);
  header[14] = 2;
  const publish = methodFrame(
    CHANNEL,
    Method.publish,
    Buffer.alloc(2),
    shortText(''),
    shortText(AMQP_QUEUE),
    Buffer.of(0),
  );
  const message = [publish, frame(FrameType.header, CHANNEL, header), frame(FrameType.body, CHANNEL, payload)];
  return { frame: Buffer.concat(message), recordsAFrame: 1, writeSeq: noSeq };
}

function methodFrame(channel: number, method: number, ...words: readonly Buffer[]): Buffer {
  const id = Buffer.alloc(4);
  id.writeUInt32BE(method);
  return frame(FrameType.method, channel, Buffer.concat([id, ...words]));
}

function frame(type: number, channel: number, payload: Buffer): Buffer {
  const header = Buffer.alloc(FRAME_HEADER_BYTES);
  header[0] = type;
  header.writeUInt16BE(channel, 1);
  header.writeUInt32BE(payload.length, 3);
  return Buffer.concat([header, payload, Buffer.from([FRAME_END])]);
}

function table(): Buffer {
  return Buffer.alloc(4);
}

function shortText(value: string): Buffer {
  return Buffer.from(`${String.fromCharCode(value.length)}${value}`, 'latin1');
}

function longText(value: string): Buffer {
  const length = Buffer.alloc(4);
  length.writeUInt32BE(value.length);
  return Buffer.concat([length, Buffer.from(value, 'latin1')]);
}
