/**
 * The bytes that a load sends: one frame, made once and repeated in one buffer, in which only what tells records apart is
 * written anew. All connections share the buffer: the kernel has copied it when the write returns, and where it has not
 * (the socket was full) the buffer is left to that write and a new one taken.
 */

/** What one frame of a protocol looks like. */
export interface FrameShape {
  readonly frame: Buffer;
  readonly recordsAFrame: number;
  /** Writes into the frame at `at` which records it holds: those from `firstSeq` on. */
  readonly writeSeq: (view: DataView, at: number, firstSeq: number) => void;
}

/** Records as the bytes of one write. */
export interface Block {
  /** The most records of one fill. */
  readonly capacity: number;
  /**
   * The bytes of `count` records from `firstSeq` on, in memory that the next call writes again.
   * @param count 1 to the capacity
   */
  fill(firstSeq: number, count: number): Buffer;
  /** Takes new memory: the bytes that fill() returned last are still to be read by somebody. */
  renew(): void;
}

/** Frames of so many records each. */
export class RecordBlock implements Block {
  readonly #shape: FrameShape;
  readonly #frames: number;
  #view!: DataView;
  #prefixes!: Buffer[];

  /** @param records the most that one fill makes; rounded up to whole frames */
  constructor(shape: FrameShape, records: number) {
    this.#shape = shape;
    this.#frames = Math.ceil(records / shape.recordsAFrame);
    this.renew();
  }

  get capacity(): number {
    return this.#frames * this.#shape.recordsAFrame;
  }

  /** @throws RangeError where `count` records are no whole frames */
  fill(firstSeq: number, count: number): Buffer {
    const { frame, recordsAFrame, writeSeq } = this.#shape;
    const frames = count / recordsAFrame;
    const bytes = this.#prefixes[frames];
    if (bytes === undefined) throw new RangeError(`${count} records are no whole frames of ${recordsAFrame}`);
    for (let i = 0; i < frames; i++) writeSeq(this.#view, i * frame.length, firstSeq + i * recordsAFrame);
    return bytes;
  }

  renew(): void {
    const { frame } = this.#shape;
    const buffer = Buffer.alloc(frame.length * this.#frames, frame);
    this.#view = new DataView(buffer.buffer, buffer.byteOffset, buffer.length);
    this.#prefixes = Array.from({ length: this.#frames + 1 }, (_, count) => buffer.subarray(0, count * frame.length));
  }
}

/** For frames that are all the same. */
export function noSeq(): void {
  // There is nothing to write.
}

/**
 * JSON of exactly so many bytes that looks like a reading: numbers first, then a text that fills it up.
 * @throws RangeError under 50 bytes
 */
export function makePayload(bytes: number): Buffer {
  const short = '{"cycle":113,"T2":518.67,"note":"';
  const long =
    '{"cycle":113,"settings":[0.0012,-0.0003,100],"sensors":{"T2":518.67,"T24":642.35,"T30":1587.99},"note":"';
  const start = bytes < long.length + 2 ? short : long;
  if (bytes < 50) throw new RangeError(`a payload has at least 50 bytes, not ${bytes}`);
  return Buffer.from(`${start.padEnd(bytes - 2, 'abcdefghij ')}"}`, 'latin1');
}
