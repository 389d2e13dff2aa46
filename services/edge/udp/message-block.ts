/**
 * The memory of one recvmmsg or sendmmsg: as many datagrams as it has slots, with their addresses, laid out once and used for
 * every call. Little-endian, 64 bits:
 *
 *   struct mmsghdr   0 u64 msg_name   8 u32 msg_namelen   16 u64 msg_iov   24 u64 msg_iovlen   32 u64 msg_control
 *                   40 u64 msg_controllen   48 i32 msg_flags   56 u32 msg_len                            (64 bytes)
 *   struct iovec     0 u64 iov_base   8 u64 iov_len                                                      (16 bytes)
 *
 * as in recvmsg(2), recvmmsg(2) and include/uapi/linux/uio.h; message-block.test.ts holds this to what a C compiler would make
 * of the declarations. musl's msg_iovlen and msg_controllen are 32 bits with 32 of padding, which comes to the same.
 *
 * The addresses that stand in it are those of its own memory, which does not move. The kernel writes to it only during a call.
 */
import type { Datagrams, Source } from './socket.js';

export const HEADER = { bytes: 64, name: 0, nameBytes: 8, vector: 16, vectorCount: 24, length: 56 } as const;
export const VECTOR = { bytes: 16, base: 0, length: 8 } as const;
/** Room for the longest address, and a multiple of 8. */
const NAME_BYTES = 32;

export class MessageBlock implements Datagrams {
  /** How many of its slots are in use, from the first on. */
  count = 0;
  /** All of the headers, as the system calls take them. */
  readonly headers: Uint8Array;
  readonly #lengths: Uint32Array;
  readonly #vectors: Uint32Array;
  readonly #names: readonly Buffer[];
  readonly #bytes: readonly Buffer[];

  /**
   * @param slotBytes the most that a datagram can have in it
   * @param nameBytes of an address
   * @param addressOf where memory is, for the kernel
   */
  constructor(
    readonly capacity: number,
    slotBytes: number,
    nameBytes: number,
    addressOf: (memory: ArrayBuffer) => bigint,
  ) {
    const slotStride = Math.ceil(slotBytes / 8) * 8;
    const vectorsAt = capacity * HEADER.bytes;
    const namesAt = vectorsAt + capacity * VECTOR.bytes;
    const bytesAt = namesAt + capacity * NAME_BYTES;
    const memory = new ArrayBuffer(bytesAt + capacity * slotStride);
    const view = new DataView(memory);
    const base = addressOf(memory);
    const slots = Array.from({ length: capacity }, (_, index) => ({
      header: index * HEADER.bytes,
      vector: vectorsAt + index * VECTOR.bytes,
      name: namesAt + index * NAME_BYTES,
      bytes: bytesAt + index * slotStride,
    }));
    for (const slot of slots) {
      view.setBigUint64(slot.header + HEADER.name, base + BigInt(slot.name), true);
      // The kernel writes how long an address was; all of a socket's are as long as this.
      view.setUint32(slot.header + HEADER.nameBytes, nameBytes, true);
      view.setBigUint64(slot.header + HEADER.vector, base + BigInt(slot.vector), true);
      view.setBigUint64(slot.header + HEADER.vectorCount, 1n, true);
      view.setBigUint64(slot.vector + VECTOR.base, base + BigInt(slot.bytes), true);
      view.setBigUint64(slot.vector + VECTOR.length, BigInt(slotBytes), true);
    }
    this.headers = new Uint8Array(memory, 0, vectorsAt);
    this.#lengths = new Uint32Array(memory, 0, vectorsAt / 4);
    this.#vectors = new Uint32Array(memory, vectorsAt, (namesAt - vectorsAt) / 4);
    this.#names = slots.map(({ name }) => Buffer.from(memory, name, nameBytes));
    this.#bytes = slots.map(({ bytes }) => Buffer.from(memory, bytes, slotBytes));
  }

  /** The headers from one of them on. */
  headersFrom(index: number): Uint8Array {
    return index === 0 ? this.headers : this.headers.subarray(index * HEADER.bytes);
  }

  bytes(index: number): Buffer {
    return this.#bytes[index]!.subarray(0, this.#lengths[(index * HEADER.bytes + HEADER.length) / 4]);
  }

  source(index: number): Source {
    return this.#names[index]!;
  }

  /** Puts a copy of a datagram into the next slot. @throws RangeError where it has no room */
  add(bytes: Buffer, to: Source): void {
    const index = this.count;
    const slot = this.#bytes[index];
    if (slot === undefined || bytes.length > slot.length) throw new RangeError(`no room for ${bytes.length} bytes`);
    slot.set(bytes);
    this.#names[index]!.set(to);
    // Its upper half stays 0.
    this.#vectors[(index * VECTOR.bytes + VECTOR.length) / 4] = bytes.length;
    this.count++;
  }
}
