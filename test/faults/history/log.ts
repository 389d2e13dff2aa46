/**
 * The log of a history: what devices sent and what they were told, in the order in which it happened. It is a file, so that
 * a long run keeps nothing in memory, and that a run can be checked again after it.
 *
 *   entry   0 u8 type (1 device, 2 telemetry, 3 report, 4 acked, 5 refused)   1 u8 bytes of the id   2 u16 0   4 u32 device
 *           8 f64 seq   16 the device's id, ASCII, in entries of type 1 alone       (little-endian)
 *
 *   device            its number in this log, from 0
 *   telemetry, report every record after the device's last one through seq was sent, and is of this kind
 *   acked             every record through seq was acked that was not refused
 *   refused           the record with this seq was refused for good
 */
import { closeSync, mkdirSync, openSync, readSync, writeSync } from 'node:fs';
import { dirname } from 'node:path';

export const EntryType = { device: 1, telemetry: 2, report: 3, acked: 4, refused: 5 } as const;
export type EntryType = (typeof EntryType)[keyof typeof EntryType];

const ENTRY_BYTES = 16;
const BUFFER_BYTES = 64 * 1024;
const MAX_ID_BYTES = 128;

export class HistoryLog {
  readonly #descriptor: number;
  readonly #numbers = new Map<string, number>();
  readonly #buffer = Buffer.alloc(BUFFER_BYTES);
  #used = 0;

  constructor(readonly path: string) {
    mkdirSync(dirname(path), { recursive: true });
    this.#descriptor = openSync(path, 'w');
  }

  write(type: EntryType, deviceId: string, seq: number): void {
    let device = this.#numbers.get(deviceId);
    if (device === undefined) {
      device = this.#numbers.size;
      this.#numbers.set(deviceId, device);
      const bytes = this.#put(EntryType.device, device, 0, deviceId.length);
      bytes.write(deviceId, ENTRY_BYTES, 'latin1');
    }
    this.#put(type, device, seq, 0);
  }

  /** Hands what is buffered to the file system. */
  flush(): void {
    writeSync(this.#descriptor, this.#buffer, 0, this.#used);
    this.#used = 0;
  }

  close(): void {
    this.flush();
    closeSync(this.#descriptor);
  }

  /** @returns the entry's bytes, with room for the id */
  #put(type: EntryType, device: number, seq: number, idBytes: number): Buffer {
    if (this.#used + ENTRY_BYTES + idBytes > BUFFER_BYTES) this.flush();
    const entry = this.#buffer.subarray(this.#used, this.#used + ENTRY_BYTES + idBytes);
    entry.writeUInt32LE(type | (idBytes << 8), 0);
    entry.writeUInt32LE(device, 4);
    entry.writeDoubleLE(seq, 8);
    this.#used += entry.length;
    return entry;
  }
}

export interface LogReader {
  /** A device, before any of its entries. */
  device(device: number, deviceId: string): void;
  entry(type: EntryType, device: number, seq: number): void;
}

/** Reads a log from its beginning. @throws Error where it is not whole */
export function readLog(path: string, reader: LogReader): void {
  const descriptor = openSync(path, 'r');
  const buffer = Buffer.alloc(BUFFER_BYTES);
  let held = 0;
  try {
    for (;;) {
      const read = readSync(descriptor, buffer, held, BUFFER_BYTES - held, null);
      if (read === 0) break;
      const used = readEntries(buffer.subarray(0, held + read), reader);
      buffer.copyWithin(0, used, held + read);
      held += read - used;
    }
    if (held > 0) throw new Error(`${path} ends within an entry`);
  } finally {
    closeSync(descriptor);
  }
}

/** @returns the bytes of the entries that were whole */
function readEntries(bytes: Buffer, reader: LogReader): number {
  let at = 0;
  while (at + ENTRY_BYTES <= bytes.length) {
    const type = bytes[at]! as EntryType;
    const end = at + ENTRY_BYTES + bytes[at + 1]!;
    if (end > bytes.length) break;
    const device = bytes.readUInt32LE(at + 4);
    if (type === EntryType.device) reader.device(device, bytes.toString('latin1', at + ENTRY_BYTES, end));
    else if (type > EntryType.refused || end - at > ENTRY_BYTES + MAX_ID_BYTES)
      throw new Error(`no entry: type ${type}`);
    else reader.entry(type, device, bytes.readDoubleLE(at + 8));
    at = end;
  }
  return at;
}
