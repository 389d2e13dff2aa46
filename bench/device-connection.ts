/** A device of a load: the WebSocket handshake and as much of the device protocol as a load needs. */
import { LoadConnection, type OnAcked } from './load-connection.js';
import { countOfJsonSeq, webSocketHeader } from './device-frames.js';
import type { Block } from './record-block.js';

const TYPE_ACK = 1;
const TYPE_ERROR = 2;
const TYPE_HELLO = 5;
const DOWN_HEADER_BYTES = 16;
const JSON_ACK = Buffer.from('{"ack":', 'latin1');
const JSON_HELLO = Buffer.from('{"hello":', 'latin1');

const Opcode = { text: 1, binary: 2, close: 8, ping: 9, pong: 10 } as const;

export class DeviceConnection extends LoadConnection {
  readonly #request: string;
  #upgraded = false;

  constructor(index: number, host: string, port: number, block: Block, onAcked: OnAcked, protocol: 'binary' | 'json') {
    super(index, host, port, block, onAcked);
    this.#request = [
      `GET /v1/devices/bench-${index} HTTP/1.1`,
      `Host: ${host}:${port}`,
      'Connection: Upgrade',
      'Upgrade: websocket',
      'Sec-WebSocket-Version: 13',
      'Sec-WebSocket-Key: aG9sZGZhc3QgYmVuY2ghIQ==',
      `Sec-WebSocket-Protocol: holdfast.v1.${protocol}`,
      '\r\n',
    ].join('\r\n');
  }

  protected override connected(): void {
    this.socket.write(this.#request);
  }

  protected override consume(bytes: Buffer, end: number): number {
    let at = this.#upgraded ? 0 : this.#upgrade(bytes, end);
    while (this.#upgraded && end - at >= 2) {
      let length = bytes[at + 1]!;
      let start = at + 2;
      if (length === 126) {
        if (end - at < 4) break;
        length = bytes.readUInt16BE(at + 2);
        start = at + 4;
      } else if (length > 126) {
        throw new Error(`device ${this.index}: a frame with the length byte ${length}`);
      }
      if (end - start < length) break;
      this.#frame(bytes[at]!, bytes, start, start + length);
      at = start + length;
    }
    return at;
  }

  #upgrade(bytes: Buffer, end: number): number {
    const answer = bytes.toString('latin1', 0, end);
    const over = answer.indexOf('\r\n\r\n');
    if (over < 0) return 0;
    if (!answer.startsWith('HTTP/1.1 101 ')) throw new Error(`device ${this.index} was refused: ${answer}`);
    this.#upgraded = true;
    return over + 4;
  }

  #frame(first: number, bytes: Buffer, start: number, end: number): void {
    switch (first & 0x0f) {
      case Opcode.binary:
        this.#binary(bytes, start, end);
        return;
      case Opcode.text:
        this.#text(bytes, start, end);
        return;
      case Opcode.ping:
        this.socket.write(Buffer.concat([webSocketHeader(Opcode.pong, end - start), bytes.subarray(start, end)]));
        return;
      case Opcode.pong:
        return;
      case Opcode.close: {
        const reason = bytes.toString('utf8', start + 2, end);
        throw new Error(`device ${this.index} was closed: ${bytes.readUInt16BE(start)} ${reason}`);
      }
      default:
        throw new Error(`device ${this.index}: a frame that starts with ${first}`);
    }
  }

  #binary(bytes: Buffer, start: number, end: number): void {
    const type = bytes[start];
    if (type === TYPE_ACK && end - start >= DOWN_HEADER_BYTES) this.ackedThrough(bytes.readDoubleLE(start + 8));
    else if (type === TYPE_HELLO) this.ready();
    else if (type === TYPE_ERROR) throw this.#refused(bytes.toString('utf8', start + DOWN_HEADER_BYTES, end));
    else throw new Error(`device ${this.index}: a message of type ${String(type)} and ${end - start} bytes`);
  }

  #text(bytes: Buffer, start: number, end: number): void {
    if (startsWith(bytes, start, end, JSON_ACK)) {
      const digits = bytes.toString('latin1', start + JSON_ACK.length, end - 1);
      this.ackedThrough(countOfJsonSeq(Number(digits)));
    } else if (startsWith(bytes, start, end, JSON_HELLO)) this.ready();
    else throw this.#refused(bytes.toString('utf8', start, end));
  }

  #refused(what: string): Error {
    return new Error(`device ${this.index}: the edge says ${what}`);
  }
}

function startsWith(bytes: Buffer, start: number, end: number, expected: Buffer): boolean {
  return start + expected.length <= end && expected.equals(bytes.subarray(start, start + expected.length));
}
