/**
 * The bytes that a load sends: one frame, made once and repeated in one buffer, in which only the sequence numbers are
 * written anew. All connections share the buffer: the kernel has copied it when the write returns, and where it has not
 * (the socket was full) the buffer is left to that write and a new one taken.
 *
 *   binary   WebSocket header (fin, binary, 16-bit length, mask key 0) | u32 size | u8 kind | u8[3] 0 | f64 seq | f64 time | payload
 *   json     WebSocket header (fin, text, …)                           | {"seq":1000000001,"data":payload}
 *   redis    *5 XADD telemetry * data payload                          (RESP; no sequence number)
 *
 * A mask key of 0 is a legal one, and leaves the payload as it is: the server unmasks as ever, the client saves the work.
 */

export const PROTOCOLS = ['binary', 'json', 'redis'] as const;
export type Protocol = (typeof PROTOCOLS)[number];

/** JSON sequence numbers have ten digits from the first on, so that they can be written in place. */
const FIRST_JSON_SEQ = 1_000_000_001;
const JSON_SEQ_DIGITS = 10;
const KIND_TELEMETRY = 1;
const RECORD_HEADER_BYTES = 24;
/** The Redis stream that takes all records: one, which is the better for Redis. */
export const REDIS_STREAM = 'telemetry';

export class RecordBlock {
  readonly #frame: Buffer;
  readonly #writeSeq: (view: DataView, at: number, seq: number) => void;
  readonly #capacity: number;
  #view!: DataView;
  #prefixes!: Buffer[];

  /**
   * @param payloadBytes bytes of the record's JSON
   * @param capacity the most records that one fill makes
   */
  constructor(protocol: Protocol, payloadBytes: number, capacity: number) {
    const payload = makePayload(payloadBytes);
    this.#capacity = capacity;
    switch (protocol) {
      case 'binary': {
        const headerBytes = webSocketHeader(2, RECORD_HEADER_BYTES + payloadBytes).length;
        this.#frame = binaryFrame(payload);
        this.#writeSeq = (view, at, seq) => view.setFloat64(at + headerBytes + 8, seq, true);
        break;
      }
      case 'json': {
        this.#frame = jsonFrame(payload);
        const seqAt = this.#frame.indexOf(String(FIRST_JSON_SEQ), 0, 'latin1');
        this.#writeSeq = (view, at, seq) => writeDecimal(view, at + seqAt, seq + FIRST_JSON_SEQ - 1);
        break;
      }
      case 'redis':
        this.#frame = redisCommand(payload);
        this.#writeSeq = () => undefined;
    }
    this.renew();
  }

  get capacity(): number {
    return this.#capacity;
  }

  /**
   * The bytes of `count` records from `firstSeq` on, in memory that the next call writes again.
   * @param count 1 to the capacity
   */
  fill(firstSeq: number, count: number): Buffer {
    const frameBytes = this.#frame.length;
    for (let i = 0; i < count; i++) this.#writeSeq(this.#view, i * frameBytes, firstSeq + i);
    return this.#prefixes[count]!;
  }

  /** Takes new memory: the bytes that fill() returned last are still to be read by somebody. */
  renew(): void {
    const frameBytes = this.#frame.length;
    const buffer = Buffer.alloc(frameBytes * this.#capacity, this.#frame);
    this.#view = new DataView(buffer.buffer, buffer.byteOffset, buffer.length);
    this.#prefixes = Array.from({ length: this.#capacity + 1 }, (_, count) => buffer.subarray(0, count * frameBytes));
  }
}

/** The seq, counted from 1 by connection, of an acked JSON record. */
export function countOfJsonSeq(seq: number): number {
  return seq - FIRST_JSON_SEQ + 1;
}

/** A client's WebSocket header with fin set and the mask key 0. */
export function webSocketHeader(opcode: number, length: number): Buffer {
  if (length < 126) return Buffer.from([0x80 | opcode, 0x80 | length, 0, 0, 0, 0]);
  if (length > 0xffff) throw new RangeError(`${length} bytes are more than a bench sends in one frame`);
  return Buffer.from([0x80 | opcode, 0x80 | 126, length >> 8, length & 0xff, 0, 0, 0, 0]);
}

/**
 * JSON of exactly so many bytes that looks like a reading: numbers first, then a text that fills it up.
 * @throws RangeError under 120 bytes
 */
export function makePayload(bytes: number): Buffer {
  const start =
    '{"cycle":113,"settings":[0.0012,-0.0003,100],"sensors":{"T2":518.67,"T24":642.35,"T30":1587.99},"note":"';
  if (bytes < start.length + 2) throw new RangeError(`a payload has at least ${start.length + 2} bytes, not ${bytes}`);
  return Buffer.from(`${start.padEnd(bytes - 2, 'abcdefghij ')}"}`, 'latin1');
}

function binaryFrame(payload: Buffer): Buffer {
  const header = Buffer.alloc(RECORD_HEADER_BYTES);
  header.writeUInt32LE(RECORD_HEADER_BYTES - 4 + payload.length, 0);
  header.writeUInt8(KIND_TELEMETRY, 4);
  return Buffer.concat([webSocketHeader(2, header.length + payload.length), header, payload]);
}

function jsonFrame(payload: Buffer): Buffer {
  const text = Buffer.from(`{"seq":${FIRST_JSON_SEQ},"data":${payload.toString('latin1')}}`, 'latin1');
  return Buffer.concat([webSocketHeader(1, text.length), text]);
}

function redisCommand(payload: Buffer): Buffer {
  const words = ['XADD', REDIS_STREAM, '*', 'data', payload.toString('latin1')];
  return Buffer.from(`*${words.length}\r\n${words.map((word) => `$${word.length}\r\n${word}\r\n`).join('')}`, 'latin1');
}

function writeDecimal(view: DataView, at: number, value: number): void {
  let rest = value;
  for (let i = JSON_SEQ_DIGITS - 1; i >= 0; i--) {
    const next = Math.floor(rest / 10);
    view.setUint8(at + i, 48 + rest - next * 10);
    rest = next;
  }
}
