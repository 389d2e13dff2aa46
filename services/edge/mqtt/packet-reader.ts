/**
 * Cuts a stream of bytes into MQTT's packets, where they lie: a chunk that holds whole packets is not copied.
 *
 * What is left of a chunk, the first part of a packet, is kept in a buffer that doubles as it fills, so that a packet that
 * comes byte by byte costs no more than a few copies of each byte, and a length that is only promised costs no memory. No
 * packet is longer than the limit, so at most the limit and one chunk are held.
 */
import { ProtocolError, Reason } from './reasons.js';

const NOTHING = Buffer.alloc(0);
/** Bytes of the fixed header: the first, and up to four of the length. */
const MAX_LENGTH_BYTES = 4;

export class PacketReader {
  /** Where the packet lies that `next` has found: its first byte at `start`, what follows the length in [body, end). */
  bytes: Buffer = NOTHING;
  start = 0;
  body = 0;
  end = 0;
  /** True where `bytes` is a buffer of this reader's own, with room to grow into. */
  #isOwn = false;
  #at = 0;
  #filled = 0;

  /** @param limit the longest packet, bytes, fixed header and all; it may change between packets */
  constructor(public limit: number) {}

  /** Bytes that were fed and not read. */
  get waitingBytes(): number {
    return this.#filled - this.#at;
  }

  /** Adds bytes at the end. They must not change until `next` has returned false and `keep` was called. */
  feed(chunk: Buffer): void {
    if (this.#at === this.#filled) {
      this.bytes = chunk;
      this.#isOwn = false;
      this.#at = 0;
      this.#filled = chunk.length;
      return;
    }
    const needed = this.waitingBytes + chunk.length;
    if (!this.#isOwn || this.#filled + chunk.length > this.bytes.length) this.#move(needed);
    chunk.copy(this.bytes, this.#filled);
    this.#filled += chunk.length;
  }

  /**
   * Goes to the next packet.
   * @returns false where none is whole yet
   * @throws ProtocolError where its length is over the limit, or is none
   */
  next(): boolean {
    const { bytes } = this;
    const start = this.#at;
    const filled = this.#filled;
    let length = 0;
    let scale = 1;
    for (let count = 1; start + count < filled; count++) {
      const byte = bytes[start + count]!;
      length += (byte & 0x7f) * scale;
      scale *= 128;
      if (byte < 0x80) return this.#found(start, start + count + 1, length);
      if (count === MAX_LENGTH_BYTES) throw new ProtocolError(Reason.malformed, 'the length of a packet is malformed');
    }
    return false;
  }

  /** Goes back to before the packet that `next` has found: it comes again. */
  unread(): void {
    this.#at = this.start;
  }

  /** To be called where the chunk that was fed is not this reader's to hold: what is left of it is copied. */
  keep(): void {
    if (this.waitingBytes === 0) {
      this.bytes = NOTHING;
      this.#isOwn = false;
      this.#at = this.#filled = 0;
    } else if (!this.#isOwn) {
      this.#move(this.waitingBytes);
    }
  }

  #found(start: number, body: number, length: number): boolean {
    const end = body + length;
    if (end - start > this.limit) {
      const message = `a packet has ${end - start} bytes; the limit is ${this.limit}`;
      throw new ProtocolError(Reason.packetTooLarge, message);
    }
    if (end > this.#filled) return false;
    this.start = start;
    this.body = body;
    this.end = end;
    this.#at = end;
    return true;
  }

  /** Moves what waits to the start of a buffer with room for `needed` bytes, and for as many again where it is new. */
  #move(needed: number): void {
    const { bytes } = this;
    const waiting = this.waitingBytes;
    if (this.#isOwn && needed * 2 <= bytes.length) {
      bytes.copyWithin(0, this.#at, this.#filled);
    } else {
      this.bytes = Buffer.allocUnsafeSlow(needed * 2);
      bytes.copy(this.bytes, 0, this.#at, this.#filled);
      this.#isOwn = true;
    }
    this.#at = 0;
    this.#filled = waiting;
  }
}
