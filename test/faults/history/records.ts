/**
 * Every record of a history as one byte: what became of it, and where it was seen. A device's records are numbered from 1
 * without a gap, so they are an array, and ten million of them are ten megabytes.
 */
import { EntryType, readLog } from './log.js';
import type { HistoryKind } from './payload.js';

/** Bits of a record. */
export const Mark = { refused: 1, report: 2, table: 4, router: 8, edge: 16 } as const;

const FIRST_CAPACITY = 256;

export class DeviceRecords {
  /** Every record through this seq was sent. */
  sent = 0;
  /** Every record through this seq was acked, but for those refused. */
  acked = 0;
  /** The greatest seq that was seen in the router's queue. */
  lastSeen = 0;
  #marks = new Uint8Array(FIRST_CAPACITY);

  constructor(readonly id: string) {}

  /** What its records take. */
  get bytes(): number {
    return this.#marks.length;
  }

  marks(seq: number): number {
    return this.#marks[seq]!;
  }

  mark(seq: number, bits: number): void {
    this.#marks[seq]! |= bits;
  }

  /** True for the seq of a record that was sent. */
  hasSent(seq: number): boolean {
    return Number.isInteger(seq) && seq >= 1 && seq <= this.sent;
  }

  kind(seq: number): HistoryKind {
    return (this.marks(seq) & Mark.report) === 0 ? 'telemetry' : 'report';
  }

  sendThrough(seq: number, bits: number): void {
    if (seq >= this.#marks.length) {
      const larger = new Uint8Array(2 ** Math.ceil(Math.log2(seq + 1)));
      larger.set(this.#marks);
      this.#marks = larger;
    }
    if (bits !== 0) this.#marks.fill(bits, this.sent + 1, seq + 1);
    this.sent = Math.max(this.sent, seq);
  }
}

/** Reads the records of a log, by device. @throws Error where an ack is for what was not sent */
export function readRecords(path: string): Map<string, DeviceRecords> {
  const byNumber: DeviceRecords[] = [];
  readLog(path, {
    device: (device, deviceId) => (byNumber[device] = new DeviceRecords(deviceId)),
    entry: (type, device, seq) => {
      const records = byNumber[device]!;
      if (type === EntryType.acked) {
        if (seq > records.sent) throw new Error(`${records.id} was acked ${seq}, and has sent ${records.sent}`);
        records.acked = Math.max(records.acked, seq);
      } else if (type === EntryType.refused) {
        records.mark(seq, Mark.refused);
      } else {
        records.sendThrough(seq, type === EntryType.report ? Mark.report : 0);
      }
    },
  });
  return new Map(byNumber.map((records) => [records.id, records]));
}
