/**
 * Clients of live that subscribe to everything and count what they get: a process of its own. Frames are counted by their headers
 * alone; a message that says how many were dropped is told apart by its first bytes.
 *
 * `live-subscribers.js <port> <clients>`; on any message it tells `counted`.
 */
import { connect, type Socket } from 'node:net';
import { webSocketHeader } from './device-frames.js';
import { runAsChild, tell } from './messages.js';

const REQUEST = [
  'GET /v1/live HTTP/1.1',
  'Host: 127.0.0.1',
  'Connection: Upgrade',
  'Upgrade: websocket',
  'Sec-WebSocket-Version: 13',
  'Sec-WebSocket-Key: aG9sZGZhc3QgYmVuY2ghIQ==',
  '\r\n',
].join('\r\n');
const SUBSCRIBE = Buffer.from('{"subscribe":"*"}');
const PONG = webSocketHeader(10, 0);
const TEXT = 1;
const PING = 9;
const DROPPED = Buffer.from('{"dropped":');
/** Sockets read one after another, in one thread, so one buffer serves them all. */
const readBuffer = Buffer.alloc(256 * 1024);

let messages = 0;
let dropped = 0;

class Subscriber {
  readonly #socket: Socket;
  #head = Buffer.alloc(0);
  #upgraded = false;
  /** Bytes of the frame under way that are still to come. */
  #skip = 0;

  constructor(port: number, onReady: () => void) {
    const callback = (length: number): boolean => {
      this.#read(readBuffer.subarray(0, length), onReady);
      return true;
    };
    this.#socket = connect({ host: '127.0.0.1', port, onread: { buffer: readBuffer, callback } });
    this.#socket.on('connect', () => this.#socket.write(REQUEST));
    this.#socket.on('close', () => {
      throw new Error('live has closed a connection');
    });
  }

  #read(chunk: Buffer, onReady: () => void): void {
    const bytes = this.#head.length === 0 ? chunk : Buffer.concat([this.#head, chunk]);
    let at = this.#upgraded ? 0 : this.#upgrade(bytes, onReady);
    if (this.#upgraded) at = this.#frames(bytes, at);
    this.#head = at >= bytes.length ? Buffer.alloc(0) : Buffer.from(bytes.subarray(at));
  }

  #upgrade(bytes: Buffer, onReady: () => void): number {
    const over = bytes.indexOf('\r\n\r\n');
    if (over < 0) return 0;
    const answer = bytes.toString('latin1', 0, over);
    if (!answer.startsWith('HTTP/1.1 101 ')) throw new Error(`live refused: ${answer}`);
    this.#upgraded = true;
    this.#socket.write(Buffer.concat([webSocketHeader(TEXT, SUBSCRIBE.length), SUBSCRIBE]));
    onReady();
    return over + 4;
  }

  /** @returns how far whole headers go; the rest comes again */
  #frames(bytes: Buffer, start: number): number {
    let at = start;
    if (this.#skip > 0) {
      const skipped = Math.min(this.#skip, bytes.length - at);
      this.#skip -= skipped;
      at += skipped;
    }
    // The longest header, and as much of the payload as is looked at.
    while (bytes.length - at >= 4 + DROPPED.length + 8) {
      const short = bytes[at + 1]!;
      if (short > 126) throw new Error(`live sent a frame with the length byte ${short}`);
      const length = short === 126 ? bytes.readUInt16BE(at + 2) : short;
      const payload = at + (short === 126 ? 4 : 2);
      this.#frame(bytes, bytes[at]! & 0x0f, payload, length);
      at = payload + length;
      if (at > bytes.length) {
        this.#skip = at - bytes.length;
        return bytes.length;
      }
    }
    return at;
  }

  #frame(bytes: Buffer, opcode: number, payload: number, length: number): void {
    if (opcode === PING) this.#socket.write(PONG);
    if (opcode !== TEXT) return;
    if (DROPPED.equals(bytes.subarray(payload, payload + DROPPED.length))) {
      dropped += parseInt(bytes.toString('latin1', payload + DROPPED.length, payload + length), 10);
    } else messages++;
  }
}

async function run(): Promise<void> {
  const [port, clients] = process.argv.slice(2).map(Number);
  if (port === undefined || clients === undefined) throw new Error('a port and a number of clients are needed');
  for (let count = 0; count < clients; count++) await new Promise<void>((resolve) => new Subscriber(port, resolve));
  process.on('message', () => tell('counted', { messages, dropped }));
  process.once('SIGTERM', () => process.exit(0));
  tell('subscribed');
}

runAsChild(run);
