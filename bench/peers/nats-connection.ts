/**
 * A client of a load on NATS JetStream: `PUB telemetry <own inbox> <bytes>`, and the acks of the stream, which come as messages
 * to that inbox, counted.
 */
import { LoadConnection } from '../load-connection.js';
import { makePayload, noSeq, type FrameShape } from '../record-block.js';

export const NATS_SUBJECT = 'telemetry';
const CR = 0x0d;
const MESSAGE = 'M'.charCodeAt(0);
const INFO = 'I'.charCodeAt(0);
const PING = 'P'.charCodeAt(0);
const SPACE = 0x20;
const LINE_END_BYTES = 2;
/** An ack begins `{"stream"`, a refusal `{"error"`. */
const ACK_THIRD_BYTE = 's'.charCodeAt(0);

export class NatsConnection extends LoadConnection {
  protected override connected(): void {
    this.socket.write(`CONNECT {"verbose":false,"pedantic":false}\r\nSUB ${inboxOf(this.index)} 1\r\nPING\r\n`);
  }

  protected override consume(bytes: Buffer, end: number): number {
    let at = 0;
    let acks = 0;
    for (;;) {
      const lineEnd = bytes.indexOf(CR, at);
      if (lineEnd < 0 || lineEnd + LINE_END_BYTES > end) break;
      let next = lineEnd + LINE_END_BYTES;
      if (bytes[at] === MESSAGE) {
        const payload = next;
        next += lengthBefore(bytes, lineEnd) + LINE_END_BYTES;
        if (next > end) break;
        if (bytes[payload + 2] !== ACK_THIRD_BYTE)
          throw new Error(`NATS says ${bytes.toString('latin1', payload, next)}`);
        acks++;
      } else {
        this.#line(bytes, at, lineEnd);
      }
      at = next;
    }
    if (acks > 0) this.ackedThrough(this.acked + acks);
    return at;
  }

  #line(bytes: Buffer, at: number, lineEnd: number): void {
    const line = bytes.toString('latin1', at, lineEnd);
    if (line === 'PONG') this.ready();
    else if (bytes[at] === PING) this.socket.write('PONG\r\n');
    else if (bytes[at] !== INFO) throw new Error(`NATS says ${line}`);
  }
}

/** Of one connection: it names its inbox. */
export function natsShape(payloadBytes: number, index: number): FrameShape {
  const payload = makePayload(payloadBytes).toString('latin1');
  const frame = Buffer.from(`PUB ${NATS_SUBJECT} ${inboxOf(index)} ${payloadBytes}\r\n${payload}\r\n`, 'latin1');
  return { frame, recordsAFrame: 1, writeSeq: noSeq };
}

function inboxOf(index: number): string {
  return `_INBOX.${index}`;
}

/** The number that ends at `end`: the length of the message. */
function lengthBefore(bytes: Buffer, end: number): number {
  let length = 0;
  let scale = 1;
  for (let at = end - 1; bytes[at] !== SPACE; at--) {
    length += (bytes[at]! - 48) * scale;
    scale *= 10;
  }
  return length;
}
