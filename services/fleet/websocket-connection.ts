/**
 * One device's WebSocket on a bare socket: tens of thousands of them share two cores with the pipeline that they load, so
 * there is one read buffer for all, one write a run, and no object a record. What comes is decoded by the device's own
 * decoders (shared/device-frames.ts). Deltas and commands are passed over: a simulated device has nothing to do them with.
 */
import { connect, type Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';
import { RECORD_HEADER_BYTES } from '../../shared/batch.js';
import { decodeDownFrame, decodeDownText, type DownMessage } from '../../shared/device-frames.js';
import { messageOf } from '../../shared/errors.js';
import type { ConnectionEnd, ConnectionOwner, DeviceIdentity, FleetConnection, RecordRun } from './connection.js';
import { readAnswer } from './upgrade-answer.js';
import type { WebSocketDialer } from './websocket-dialer.js';
import { makeFrame, Opcode, readFrames } from './websocket-frames.js';

const NOTHING = Buffer.alloc(0);
const MAX_ANSWER_BYTES = 16 * 1024;
const CLOSE_NORMALLY = makeFrame(Opcode.close, Buffer.from([0x03, 0xe8]));
/** No edge may send a device away for longer. */
const MAX_RETRY_AFTER_MS = 3_600_000;

export class WebSocketConnection implements FleetConnection {
  readonly #socket: Socket;
  #rest: Buffer = NOTHING;
  #upgraded = false;
  #over = false;
  #reason = 'the connection ended';

  constructor(
    private readonly dialer: WebSocketDialer,
    private readonly device: DeviceIdentity,
    private readonly owner: ConnectionOwner,
  ) {
    const { host, port, name, isSecure } = dialer.edge;
    const options = {
      host,
      port,
      noDelay: true,
      onread: { buffer: dialer.readBuffer, callback: (length: number) => this.#read(length) },
      ...(device.localAddress === undefined ? {} : { localAddress: device.localAddress }),
    };
    this.#socket = isSecure ? connectTls({ ...options, servername: name }) : connect(options);
    this.#socket.on(isSecure ? 'secureConnect' : 'connect', () => this.#socket.write(dialer.request(device)));
    this.#socket.on('error', (error) => (this.#reason = messageOf(error)));
    this.#socket.on('close', () => this.#end({ reason: this.#reason, retryAfterMs: undefined, isRefused: false }));
  }

  send(run: RecordRun): void {
    this.dialer.frames.write(run, (bytes) => {
      this.#socket.write(bytes);
      // What the kernel has taken is copied; the rest stays in the buffer until it has.
      return this.#socket.writableLength === 0;
    });
  }

  cut(): void {
    this.#over = true;
    this.#drop();
  }

  close(): void {
    this.#over = true;
    if (this.#upgraded) this.#socket.end(CLOSE_NORMALLY);
    else this.#drop();
  }

  /** RST and not FIN: otherwise the port would be kept in TIME_WAIT, of which a storm of reconnects has not enough. */
  #drop(): void {
    if (this.dialer.edge.isSecure || this.#socket.connecting) this.#socket.destroy();
    else this.#socket.resetAndDestroy();
  }

  #end(end: ConnectionEnd): void {
    if (this.#over) return;
    this.#over = true;
    this.#drop();
    this.owner.ended(end);
  }

  #fail(reason: string): void {
    this.#end({ reason, retryAfterMs: undefined, isRefused: false });
  }

  /** @returns true: go on reading */
  #read(length: number): boolean {
    if (this.#over) return true;
    const isWhole = this.#rest.length === 0;
    const { readBuffer } = this.dialer;
    const bytes = isWhole ? readBuffer : Buffer.concat([this.#rest, readBuffer.subarray(0, length)]);
    const end = isWhole ? length : bytes.length;
    try {
      const used = this.#consume(bytes, end);
      this.#rest = used === end ? NOTHING : Buffer.from(bytes.subarray(used, end));
    } catch (error) {
      this.#fail(messageOf(error));
    }
    return true;
  }

  #consume(bytes: Buffer, end: number): number {
    let at = 0;
    if (!this.#upgraded) {
      at = this.#upgrade(bytes, end);
      if (at === 0) return 0;
    }
    if (this.#over) return end;
    return readFrames(bytes, at, end, (opcode, payload) => this.#frame(opcode, payload));
  }

  /** @returns where the answer ends; 0: it is not whole */
  #upgrade(bytes: Buffer, end: number): number {
    const answer = readAnswer(bytes.toString('latin1', 0, Math.min(end, MAX_ANSWER_BYTES)), this.dialer.accept);
    if (answer === undefined) {
      if (end > MAX_ANSWER_BYTES) this.#fail(`the edge's answer has over ${MAX_ANSWER_BYTES} bytes of headers`);
      return 0;
    }
    if (answer.refusal !== undefined) this.#end(answer.refusal);
    this.#upgraded = true;
    return answer.bytes;
  }

  #frame(opcode: number, payload: Buffer): boolean {
    switch (opcode) {
      case Opcode.binary:
        this.#message(decodeDownFrame(payload));
        break;
      case Opcode.text:
        this.#message(decodeDownText(payload));
        break;
      case Opcode.ping:
        this.#socket.write(makeFrame(Opcode.pong, payload));
        break;
      case Opcode.pong:
        break;
      case Opcode.close:
        this.#closed(payload);
        break;
      default:
        this.#fail(`a frame with opcode ${opcode}`);
    }
    return !this.#over;
  }

  #message(message: DownMessage): void {
    switch (message.type) {
      case 'ack':
        this.owner.acked(message.seq);
        break;
      case 'hello':
        this.owner.opened(this.#maxUnacked(message.windowBytes));
        break;
      case 'error':
        if (message.get === undefined) this.owner.refused(message.seq, `${message.code}: ${message.message}`);
        break;
      case 'delta':
      case 'command':
      case 'shadow':
        break;
    }
  }

  /** The edge counts a record with the header that it gets in a batch. */
  #maxUnacked(windowBytes: number): number {
    const recordBytes = RECORD_HEADER_BYTES + this.device.id.length + this.dialer.payloadBytes;
    return Math.max(1, Math.floor(windowBytes / recordBytes));
  }

  #closed(payload: Buffer): void {
    const code = payload.length >= 2 ? payload.readUInt16BE(0) : 1005;
    const reason = payload.toString('utf8', 2);
    const asked = /^retry-after:(\d{1,12})$/.exec(reason)?.[1];
    const retryAfterMs = asked === undefined ? undefined : Math.min(Number(asked), MAX_RETRY_AFTER_MS);
    this.#end({ reason: `the edge closed with ${code} ${reason}`, retryAfterMs, isRefused: false });
  }
}
