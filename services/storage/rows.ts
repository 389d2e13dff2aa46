/**
 * Rows for PostgreSQL's binary COPY, straight from the bytes of batches into one reused buffer: no string and no object a
 * record. https://www.postgresql.org/docs/current/sql-copy.html, "Binary Format", big-endian:
 *
 *   19 bytes of signature, flags and extension · rows · i16 -1
 *   row    i16 number of fields, then each field: i32 length (-1: null) and its bytes
 *   fields device_id, type, site · time, seq, received (i64; times in µs since 2000) · data
 *   data   jsonb: u8 version 1 and the text; in the staging table bytea: the text alone
 *
 * Kinds telemetry, report and result become rows; a report's data is `{"report":<payload>}`, a result's likewise. What
 * sessions came and went (online, offline) is not stored.
 *
 * A record that cannot be a row at all (a time that PostgreSQL has no value for, say) is refused here; whether its JSON is
 * good is for PostgreSQL to say, once a merge.
 */
import { Kind, RecordCursor } from '../../shared/batch.js';
import type { ContextCache } from '../../shared/context.js';
import { DeviceTable } from './devices.js';
import { isOneValue } from './payload.js';

/**
 * Twice the largest row (a record fills at most one batch, 256 KiB). So every chunk but the last is over 256 KiB, far
 * more than a socket buffers on our side: when its write calls back the kernel has all of it, and the buffer is free.
 */
const CHUNK_BYTES = 640 * 1024;
const MAX_ROW_BYTES = 300 * 1024;
/** Of device_id, type and site together. */
const MAX_FIELD_BYTES = 16 * 1024;
const SIGNATURE = Buffer.from('5047434f50590aff0d0a0000000000000000000000', 'hex').subarray(0, 19);
const TRAILER_BYTES = 2;

const WRAPPERS = {
  [Kind.report]: { open: Buffer.from('{"report":'), close: 0x7d },
  [Kind.result]: { open: Buffer.from('{"result":'), close: 0x7d },
} as const;

/** What PostgreSQL's timestamptz holds: 4714-11-24 BC to 294276-12-31 AD, in ms since 1970; the end is excluded. */
export const MIN_TIME_MS = -210_866_803_200_000;
export const END_TIME_MS = 9_224_318_016_000_000;
/** 2000-01-01, where PostgreSQL's times begin. */
const EPOCH_MS = 946_684_800_000;
const TWO_32 = 2 ** 32;

/** Where the rows go: the table itself, or the staging table, which takes any bytes as data and numbers its rows. */
export type Target = 'telemetry' | 'staging';

/** A record of a merge, for the slow path. */
export interface RowSource {
  readonly row: number;
  readonly record: RecordCursor;
}

export class RowEncoder {
  readonly #devices = new DeviceTable();
  readonly #chunk = Buffer.allocUnsafeSlow(CHUNK_BYTES);
  readonly #view = new DataView(this.#chunk.buffer, this.#chunk.byteOffset, CHUNK_BYTES);
  #batches: readonly Buffer[] = [];
  #deviceOfRow = new Int32Array(1_024);
  #rows = 0;
  #receivedMs: number[] = [];

  /** How many rows the merge has. */
  get rows(): number {
    return this.#rows;
  }

  /** When the edge received the last record of each batch, ms since 1970. */
  get receivedMs(): readonly number[] {
    return this.#receivedMs;
  }

  /** The ids of the devices of the merge. */
  get deviceIds(): readonly string[] {
    return this.#devices.names;
  }

  /** Takes up a merge: counts its rows and finds its devices. */
  begin(batches: readonly Buffer[]): void {
    this.#batches = batches;
    this.#rows = 0;
    this.#receivedMs = [];
    this.#devices.begin();
    for (const batch of batches) {
      const record = new RecordCursor(batch);
      let receivedMs: number | undefined;
      while (record.next()) {
        receivedMs = record.receivedMs;
        if (!isStored(record.kind)) continue;
        if (this.#rows === this.#deviceOfRow.length) this.#deviceOfRow = grown(this.#deviceOfRow);
        this.#deviceOfRow[this.#rows++] = this.#devices.find(batch, record.deviceIdStart, record.payloadStart);
      }
      if (receivedMs !== undefined) this.#receivedMs.push(receivedMs);
    }
  }

  /** Joins the devices' contexts, which must be loaded, to the rows that follow. */
  join(contexts: Pick<ContextCache, 'get'>): void {
    this.#devices.encode(contexts);
  }

  /**
   * The rows as the bytes of a binary COPY. Each chunk shares the encoder's memory: use it before asking for the next.
   * @param skip rows to leave out
   * @throws UnencodableRow where a record cannot be a row
   */
  *chunks(target: Target, skip?: Pick<ReadonlySet<number>, 'has'>): Generator<Buffer, void> {
    const chunk = this.#chunk;
    let at = SIGNATURE.copy(chunk);
    let row = 0;
    for (const batch of this.#batches) {
      const record = new RecordCursor(batch);
      while (record.next()) {
        if (!isStored(record.kind)) continue;
        const number = row++;
        if (skip?.has(number) === true) continue;
        if (CHUNK_BYTES - at < MAX_ROW_BYTES) {
          yield chunk.subarray(0, at);
          at = 0;
        }
        const reason = this.refusal(record, number);
        if (reason !== undefined) throw new UnencodableRow(reason);
        at = this.#encode(batch, record, number, target, at);
      }
    }
    if (CHUNK_BYTES - at < TRAILER_BYTES) throw new Error('a chunk has room for its trailer');
    at = chunk.writeInt16BE(-1, at);
    yield chunk.subarray(0, at);
  }

  /** Every record of the merge that becomes a row; the yielded object is the same each time. */
  *records(): Generator<RowSource, void> {
    let row = 0;
    for (const batch of this.#batches) {
      const record = new RecordCursor(batch);
      while (record.next()) if (isStored(record.kind)) yield { row: row++, record };
    }
  }

  /** Why a record cannot be a row; undefined: it can. */
  refusal(record: RecordCursor, row: number): string | undefined {
    const fieldBytes = this.#devices.fields(this.#deviceOfRow[row]!).length;
    if (fieldBytes === 0) return 'device_id is not a device id';
    if (fieldBytes > MAX_FIELD_BYTES) return 'type and site of the device are over 16 KiB';
    if (!isTime(record.timeMs)) return 'time is out of range for timestamptz';
    if (!isTime(record.receivedMs)) return 'received is out of range for timestamptz';
    if (!Number.isSafeInteger(record.seq)) return 'seq is not a whole number that a double holds';
    // Wrapped, `1,"a":2` would make good JSON of a bad payload.
    if (record.kind !== Kind.telemetry && !isOneValue(record.payload)) return 'the payload is not one JSON value';
    return undefined;
  }

  #encode(batch: Buffer, record: RecordCursor, row: number, target: Target, start: number): number {
    const view = this.#view;
    const chunk = this.#chunk;
    let at = start;
    if (target === 'staging') {
      view.setInt16(at, 8);
      view.setInt32(at + 2, 4);
      view.setInt32(at + 6, row);
      at += 10;
    } else {
      view.setInt16(at, 7);
      at += 2;
    }
    const fields = this.#devices.fields(this.#deviceOfRow[row]!);
    for (let index = 0; index < fields.length; index++) chunk[at + index] = fields[index]!;
    at += fields.length;
    view.setInt32(at, 8);
    writeTime(view, at + 4, record.timeMs);
    view.setInt32(at + 12, 8);
    writeInteger(view, at + 16, record.seq);
    view.setInt32(at + 24, 8);
    writeTime(view, at + 28, record.receivedMs);
    return this.#encodeData(batch, record, target, at + 36);
  }

  #encodeData(batch: Buffer, record: RecordCursor, target: Target, start: number): number {
    const chunk = this.#chunk;
    const { payloadStart, payloadEnd, kind } = record;
    let at = start + 4;
    if (target === 'telemetry') chunk[at++] = 1;
    const wrapper = kind === Kind.report || kind === Kind.result ? WRAPPERS[kind] : undefined;
    if (wrapper !== undefined) at += wrapper.open.copy(chunk, at);
    batch.copy(chunk, at, payloadStart, payloadEnd);
    at += payloadEnd - payloadStart;
    if (wrapper !== undefined) chunk[at++] = wrapper.close;
    this.#view.setInt32(start, at - start - 4);
    return at;
  }
}

/** A record that cannot be a row of `telemetry`; the merge needs the slow path, which sets it aside. */
export class UnencodableRow extends Error {
  override readonly name = 'UnencodableRow';
}

function isStored(kind: number): boolean {
  return kind === Kind.telemetry || kind === Kind.report || kind === Kind.result;
}

function isTime(timeMs: number): boolean {
  return timeMs >= MIN_TIME_MS && timeMs < END_TIME_MS;
}

/** Writes ms since 1970 as µs since 2000, rounded to the µs. */
function writeTime(view: DataView, at: number, timeMs: number): void {
  const timeUs = Math.round((timeMs - EPOCH_MS) * 1_000);
  if (Number.isSafeInteger(timeUs)) {
    writeInteger(view, at, timeUs);
    return;
  }
  // Before 1715 or after 2285: µs do not fit a double any more, and a double of ms has no fraction worth a µs.
  view.setBigInt64(at, BigInt(Math.round(timeMs) - EPOCH_MS) * 1_000n);
}

/** Writes a safe integer as i64, in two halves: BigInt would allocate. */
function writeInteger(view: DataView, at: number, value: number): void {
  const high = Math.floor(value / TWO_32);
  view.setInt32(at, high);
  view.setUint32(at + 4, value - high * TWO_32);
}

function grown(array: Int32Array): Int32Array<ArrayBuffer> {
  const larger = new Int32Array(array.length * 2);
  larger.set(array);
  return larger;
}
