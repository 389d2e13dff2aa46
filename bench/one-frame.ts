/** All records of one write in one binary frame, whatever their number, as shared/device.ts sends what is ready. */
import { binaryRecord, SEQ_IN_RECORD, webSocketHeader } from './device-frames.js';
import { makePayload, type Block } from './record-block.js';

/** A header of the greatest length ends where the records begin; a shorter one begins later. */
const RECORDS_AT = 14;

export class OneFrame implements Block {
  readonly #record: Buffer;
  #view!: DataView;
  /** The bytes of a frame of so many records, which share one memory. */
  #frames: readonly Buffer[] = [];

  /** @param capacity the most records of a frame */
  constructor(
    payloadBytes: number,
    readonly capacity: number,
  ) {
    this.#record = binaryRecord(makePayload(payloadBytes));
    this.renew();
  }

  fill(firstSeq: number, count: number): Buffer {
    const { length } = this.#record;
    const bytes = this.#frames[count]!;
    // What stands there is the header of the write before.
    bytes.set(webSocketHeader(2, length * count));
    for (let i = 0; i < count; i++) {
      this.#view.setFloat64(RECORDS_AT + i * length + SEQ_IN_RECORD, firstSeq + i, true);
    }
    return bytes;
  }

  renew(): void {
    const { length } = this.#record;
    const buffer = Buffer.alloc(RECORDS_AT + length * this.capacity);
    buffer.fill(this.#record, RECORDS_AT);
    this.#view = new DataView(buffer.buffer, buffer.byteOffset, buffer.length);
    this.#frames = Array.from({ length: this.capacity + 1 }, (_, count) => {
      const header = webSocketHeader(2, length * count);
      return buffer.subarray(RECORDS_AT - header.length, RECORDS_AT + length * count);
    });
  }
}
