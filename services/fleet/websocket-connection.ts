/**
 * One device's WebSocket: one write a run, and no object a record. What comes is decoded by the device's own decoders
 * (shared/device-frames.ts). Deltas and commands are passed over: a simulated device has nothing to do them with.
 */
import { RECORD_HEADER_BYTES } from '../../shared/batch.js';
import { decodeDownFrame, decodeDownText, type DownMessage } from '../../shared/device-frames.js';
import type { ConnectionOwner, DeviceIdentity, RecordRun } from './connection.js';
import { MAX_HEAD_BYTES } from './http-head.js';
import { MAX_RETRY_AFTER_MS, StreamConnection } from './stream-connection.js';
import { readAnswer } from './upgrade-answer.js';
import type { WebSocketDialer } from './websocket-dialer.js';
import { makeFrame, Opcode, readFrames } from './websocket-frames.js';

const CLOSE_NORMALLY = makeFrame(Opcode.close, Buffer.from([0x03, 0xe8]));

export class WebSocketConnection extends StreamConnection {
  #upgraded = false;

  constructor(
    private readonly dialer: WebSocketDialer,
    device: DeviceIdentity,
    owner: ConnectionOwner,
  ) {
    super(dialer, device, owner);
  }

  override send(run: RecordRun): void {
    this.dialer.frames.write(run, (bytes) => this.write(bytes));
  }

  protected override connected(): void {
    this.write(this.dialer.request(this.device));
  }

  protected override goodbye(): Buffer | undefined {
    return this.#upgraded ? CLOSE_NORMALLY : undefined;
  }

  protected override consume(bytes: Buffer, end: number): number {
    let at = 0;
    if (!this.#upgraded) {
      at = this.#upgrade(bytes, end);
      if (at === 0) return 0;
    }
    if (this.isOver) return end;
    return readFrames(bytes, at, end, (opcode, payload) => this.#frame(opcode, payload));
  }

  /** @returns where the answer ends; 0: it is not whole */
  #upgrade(bytes: Buffer, end: number): number {
    const answer = readAnswer(bytes.toString('latin1', 0, Math.min(end, MAX_HEAD_BYTES)), this.dialer.accept);
    if (answer === undefined) {
      if (end > MAX_HEAD_BYTES) this.fail(`the edge's answer has over ${MAX_HEAD_BYTES} bytes of headers`);
      return 0;
    }
    if (answer.refusal !== undefined) this.end(answer.refusal);
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
        this.write(makeFrame(Opcode.pong, payload));
        break;
      case Opcode.pong:
        break;
      case Opcode.close:
        this.#closed(payload);
        break;
      default:
        this.fail(`a frame with opcode ${opcode}`);
    }
    return !this.isOver;
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
    this.end({ reason: `the edge closed with ${code} ${reason}`, retryAfterMs, isRefused: false });
  }
}
