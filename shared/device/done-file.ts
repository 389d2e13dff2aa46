/**
 * The seq through which a device's records are done, in a file of two slots that are written in turn: a process that dies
 * while it writes one leaves the other. A slot is `f64 seq | u32 crc32 of it | u32 0`.
 */
import { closeSync, constants, openSync, readSync, writeSync } from 'node:fs';
import { crc32 } from 'node:zlib';

const SLOT_BYTES = 16;

export class DoneFile {
  readonly #file: number;
  readonly #slot = Buffer.alloc(SLOT_BYTES);
  #next = 0;

  constructor(path: string) {
    this.#file = openSync(path, constants.O_RDWR | constants.O_CREAT, 0o600);
  }

  /** The greatest seq in a whole slot; 0 where there is none. */
  read(): number {
    const bytes = Buffer.alloc(2 * SLOT_BYTES);
    readSync(this.#file, bytes, 0, bytes.length, 0);
    const slots = [slotSeq(bytes.subarray(0, SLOT_BYTES)), slotSeq(bytes.subarray(SLOT_BYTES))];
    this.#next = slots[0]! > slots[1]! ? 1 : 0;
    return Math.max(...slots);
  }

  /** Not synced: after a power cut an older seq is read, and records that are done are sent again. */
  write(seq: number): void {
    this.#slot.writeDoubleLE(seq, 0);
    this.#slot.writeUInt32LE(crc32(this.#slot.subarray(0, 8)), 8);
    writeSync(this.#file, this.#slot, 0, SLOT_BYTES, this.#next * SLOT_BYTES);
    this.#next = 1 - this.#next;
  }

  close(): void {
    closeSync(this.#file);
  }
}

function slotSeq(slot: Buffer): number {
  const seq = slot.readDoubleLE(0);
  const whole = slot.readUInt32LE(8) === crc32(slot.subarray(0, 8)) && Number.isSafeInteger(seq) && seq > 0;
  return whole ? seq : 0;
}
