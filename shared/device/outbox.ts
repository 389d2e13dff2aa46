/**
 * What a device sends next on its connection: the records after the last one sent, as many as one message and the edge's
 * window hold, or one at a time where the edge has refused a whole message.
 */
import { FRAME_HEADER_BYTES, frameSeq } from '../device-frames.js';
import type { RecordBuffer } from './buffer.js';
import { SendWindow } from './window.js';

/** What an edge may count for a record beside payload and id: its own header, or JSON's keys. */
const RECORD_OVERHEAD_BYTES = 64;

export class Outbox {
  readonly #window = new SendWindow();
  /** What a frame costs beside its length. */
  readonly #overheadBytes: number;
  #sent = 0;
  /** Through this seq records are sent one at a time. */
  #singlyThrough = 0;

  constructor(
    private readonly buffer: RecordBuffer,
    deviceId: string,
    private readonly maxMessageBytes: number,
  ) {
    this.#overheadBytes = RECORD_OVERHEAD_BYTES - FRAME_HEADER_BYTES + deviceId.length;
  }

  /** The last seq sent on this connection, or done before it. */
  get sent(): number {
    return this.#sent;
  }

  /** Records under way: sent, and neither acked nor refused. */
  get underWay(): number {
    return this.#window.count;
  }

  /** The seq of the record under way where it is the only one. */
  get onlySeq(): number | undefined {
    return this.#window.onlySeq;
  }

  /** A connection begins: what is not acked is to be sent again. */
  begin(windowBytes: number): void {
    this.#sent = this.buffer.acked;
    this.#window.reset(windowBytes);
  }

  /** Sends one at a time, on the next connection, what was sent on this one. */
  sendSingly(): void {
    this.#singlyThrough = this.#sent;
  }

  /** Everything through `seq` is acked. */
  settleThrough(seq: number): void {
    this.#window.settleThrough(seq);
  }

  /** One record was refused. */
  settle(seq: number): void {
    this.#window.settle(seq);
  }

  /** The records of the next message, which is taken to be sent; empty where nothing is to be sent now. */
  next(): readonly Buffer[] {
    const room = this.#window.roomBytes;
    const singly = this.#sent < this.#singlyThrough;
    const mayWait = this.#window.count > 0;
    if (this.#sent >= this.buffer.lastSeq || room <= 0 || (singly && mayWait)) return [];
    const maxBytes = singly ? 1 : Math.min(room, this.maxMessageBytes);
    const frames = this.buffer.read(this.#sent, maxBytes, this.#overheadBytes);
    const first = frames[0];
    // One record may be larger than the room that is left: it waits until nothing else is under way.
    if (first === undefined || (first.length + this.#overheadBytes > room && mayWait)) return [];
    for (const frame of frames) this.#window.add(frameSeq(frame), frame.length + this.#overheadBytes);
    this.#sent = frameSeq(frames.at(-1)!);
    return frames;
  }
}
