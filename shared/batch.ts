/**
 * The batch: the bytes of many records behind one header, and the unit of commit, forward, publish and copy.
 *
 *   batch    0 u32 magic "HFB1"   4 u32 crc32 of bytes 8..end   8 u32 record count   12 u32 flags (0)
 *           16 f64 epoch   24 f64 offset   32 f64 time of commit, ms          (40 bytes, then the records)
 *   record   0 u32 size of what follows   4 u8 kind   5 u8 id length   6 u16 flags (0)
 *            8 f64 seq   16 f64 time, ms since 1970   24 f64 received, ms (edge's clock)
 *           32 device id, ASCII   .. payload, JSON UTF-8
 *
 * Little-endian. f64 rather than u64, so that JavaScript reads it without BigInt. Readers walk the size fields and touch
 * payloads only when they must; every size is checked against the batch before it is used.
 */
import { crc32 } from 'node:zlib';
import { HoldfastError } from './errors.js';
import { readPosition, type Position } from './position.js';

export const BATCH_HEADER_BYTES = 40;
export const RECORD_HEADER_BYTES = 32;
/** The largest batch: one value of the queue. */
export const MAX_BATCH_BYTES = 256 * 1024;
export const MAX_DEVICE_ID_BYTES = 128;
/** The largest payload that fits a batch beside its headers. */
export const MAX_PAYLOAD_BYTES = MAX_BATCH_BYTES - BATCH_HEADER_BYTES - RECORD_HEADER_BYTES - MAX_DEVICE_ID_BYTES;

const MAGIC = 0x31424648; // "HFB1"

// Looked up once: V8 keeps the methods of typed arrays in a dictionary, and calls out of compiled code to look there.
// eslint-disable-next-line @typescript-eslint/unbound-method -- it is called with its array
const setBytes = Uint8Array.prototype.set;

/** What a record says: three kinds come from devices, the last two from the edge about their sessions. */
export const Kind = { telemetry: 1, report: 2, result: 3, online: 4, offline: 5 } as const;
export type Kind = (typeof Kind)[keyof typeof Kind];

export interface BatchHeader {
  readonly position: Position;
  readonly records: number;
  /** Time of commit at the queue that holds the batch, ms since 1970. */
  readonly committedMs: number;
}

/**
 * Fills one reusable buffer with records. The queue stamps position, time and checksum when it commits the batch; until
 * that commit is over the buffer must not be touched.
 */
export class BatchBuilder {
  readonly #buffer: Buffer;
  readonly #view: DataView;
  #length = BATCH_HEADER_BYTES;
  #records = 0;

  /** @param capacityBytes the largest batch it builds, at most MAX_BATCH_BYTES */
  constructor(private readonly capacityBytes: number = MAX_BATCH_BYTES) {
    this.#buffer = Buffer.alloc(capacityBytes);
    this.#view = new DataView(this.#buffer.buffer, this.#buffer.byteOffset, capacityBytes);
  }

  get length(): number {
    return this.#length;
  }

  get records(): number {
    return this.#records;
  }

  /**
   * Adds a record whose payload is `source[start..end)`.
   * @param timeMs ms since 1970 of the device's clock
   * @param receivedMs ms since 1970 of the edge's clock
   * @returns false, with nothing written, where it does not fit any more
   */
  add(
    kind: Kind,
    deviceId: Uint8Array,
    seq: number,
    timeMs: number,
    receivedMs: number,
    source: Uint8Array,
    start: number,
    end: number,
  ): boolean {
    const payloadAt = this.#length + RECORD_HEADER_BYTES + deviceId.length;
    if (payloadAt + end - start > this.capacityBytes) return false;
    const whole = start === 0 && end === source.length;
    setBytes.call(this.#buffer, whole ? source : source.subarray(start, end), payloadAt);
    this.addStaged(kind, deviceId, seq, timeMs, receivedMs, end - start);
    return true;
  }

  /**
   * Copies a message to where its payload, which follows `headerBytes` of its own, is the payload of the next record. The
   * message can be read there (`view`); addStaged then takes it, and without that it was never there. This spares the hot
   * path a second copy.
   * @returns where the message starts, or -1 where it does not fit any more
   */
  stage(message: Uint8Array, headerBytes: number, idLength: number): number {
    const at = this.#length + RECORD_HEADER_BYTES + idLength - headerBytes;
    if (at + message.length > this.capacityBytes) return -1;
    setBytes.call(this.#buffer, message, at);
    return at;
  }

  /** The builder's memory, to read a staged message from. */
  get view(): DataView {
    return this.#view;
  }

  /** Adds a record whose payload is in its place already. */
  addStaged(
    kind: Kind,
    deviceId: Uint8Array,
    seq: number,
    timeMs: number,
    receivedMs: number,
    payloadBytes: number,
  ): void {
    const at = this.#length;
    const idLength = deviceId.length;
    const total = RECORD_HEADER_BYTES + idLength + payloadBytes;
    const view = this.#view;
    view.setUint32(at, total - 4, true);
    // With the flags, which are 0.
    view.setUint32(at + 4, kind | (idLength << 8), true);
    view.setFloat64(at + 8, seq, true);
    view.setFloat64(at + 16, timeMs, true);
    view.setFloat64(at + 24, receivedMs, true);
    const buffer = this.#buffer;
    // A loop beats TypedArray.set for ids, which are short.
    for (let i = 0; i < idLength; i++) buffer[at + RECORD_HEADER_BYTES + i] = deviceId[i]!;
    this.#length = at + total;
    this.#records++;
  }

  /** The batch so far, sharing the builder's memory; its position and checksum are still to be stamped. */
  build(): Buffer {
    const view = this.#view;
    view.setUint32(0, MAGIC, true);
    view.setUint32(8, this.#records, true);
    view.setUint32(12, 0, true);
    return this.#buffer.subarray(0, this.#length);
  }

  reset(): void {
    this.#length = BATCH_HEADER_BYTES;
    this.#records = 0;
  }
}

/** Gives a batch its place in a queue, in the batch's own memory: position, time of commit and the checksum over both. */
export function stampBatch(batch: Buffer, position: Position, committedMs: number): void {
  batch.writeDoubleLE(position.epoch, 16);
  batch.writeDoubleLE(position.offset, 24);
  batch.writeDoubleLE(committedMs, 32);
  batch.writeUInt32LE(crc32(batch.subarray(8)), 4);
}

/** The record count of a batch that this process built or has checked. */
export function recordCount(batch: Buffer): number {
  return batch.readUInt32LE(8);
}

/**
 * Reads a batch from a socket or a file: magic, size, checksum, and that its records fill it exactly.
 * @throws HoldfastError bad_batch, which says what does not fit
 */
export function checkBatch(batch: Buffer): BatchHeader {
  const header = checkBatchHeader(batch);
  let at = BATCH_HEADER_BYTES;
  let records = 0;
  while (at < batch.length) {
    if (at + RECORD_HEADER_BYTES > batch.length) throw badBatch(`record ${records + 1} is cut off at byte ${at}`);
    const total = batch.readUInt32LE(at) + 4;
    const idLength = batch[at + 5]!;
    if (total < RECORD_HEADER_BYTES + idLength || at + total > batch.length) {
      throw badBatch(`record ${records + 1} at byte ${at} says ${total} bytes, of ${batch.length - at} left`);
    }
    at += total;
    records++;
  }
  if (records !== header.records) throw badBatch(`the header says ${header.records} records, there are ${records}`);
  return header;
}

/** The part of checkBatch that costs no walk: magic, size, checksum and that its position is one. */
export function checkBatchHeader(batch: Buffer): BatchHeader {
  if (batch.length < BATCH_HEADER_BYTES || batch.length > MAX_BATCH_BYTES) {
    throw badBatch(`${batch.length} bytes, not ${BATCH_HEADER_BYTES} to ${MAX_BATCH_BYTES}`);
  }
  if (batch.readUInt32LE(0) !== MAGIC) throw badBatch('it does not start with "HFB1"');
  if (batch.readUInt32LE(4) !== crc32(batch.subarray(8))) throw badBatch('its checksum does not match its bytes');
  if (readPosition(batch, 16) === undefined) throw badBatch('its position is none');
  return readBatchHeader(batch);
}

/** The header of a batch that was checked before. */
export function readBatchHeader(batch: Buffer): BatchHeader {
  return {
    position: { epoch: batch.readDoubleLE(16), offset: batch.readDoubleLE(24) },
    records: batch.readUInt32LE(8),
    committedMs: batch.readDoubleLE(32),
  };
}

/**
 * Walks the records of a checked batch without allocating: `while (cursor.next()) use(cursor.seq)`.
 * Every getter speaks of the record that the last next() reached.
 */
export class RecordCursor {
  readonly #batch: Buffer;
  readonly #view: DataView;
  #at = 0;
  #end = BATCH_HEADER_BYTES;

  constructor(batch: Buffer) {
    this.#batch = batch;
    this.#view = new DataView(batch.buffer, batch.byteOffset, batch.length);
  }

  /**
   * @returns false after the last record
   * @throws HoldfastError bad_batch where a size field leaves the batch
   */
  next(): boolean {
    const at = this.#end;
    if (at >= this.#batch.length) return false;
    if (at + RECORD_HEADER_BYTES > this.#batch.length) throw badBatch(`a record is cut off at byte ${at}`);
    const end = at + 4 + this.#view.getUint32(at, true);
    if (end > this.#batch.length || end < at + RECORD_HEADER_BYTES + this.#batch[at + 5]!) {
      throw badBatch(`the record at byte ${at} ends at ${end}, the batch at ${this.#batch.length}`);
    }
    this.#at = at;
    this.#end = end;
    return true;
  }

  get kind(): number {
    return this.#batch[this.#at + 4]!;
  }

  get seq(): number {
    return this.#view.getFloat64(this.#at + 8, true);
  }

  /** ms since 1970, of the device's clock or, where it gave none, of the edge's. */
  get timeMs(): number {
    return this.#view.getFloat64(this.#at + 16, true);
  }

  get receivedMs(): number {
    return this.#view.getFloat64(this.#at + 24, true);
  }

  get deviceId(): string {
    return this.#batch.toString('latin1', this.deviceIdStart, this.payloadStart);
  }

  get deviceIdStart(): number {
    return this.#at + RECORD_HEADER_BYTES;
  }

  /** Where in the batch the payload starts; the device id ends there. */
  get payloadStart(): number {
    return this.#at + RECORD_HEADER_BYTES + this.#batch[this.#at + 5]!;
  }

  /** Where in the batch the payload, and with it the record, ends. */
  get payloadEnd(): number {
    return this.#end;
  }

  /** The payload's bytes, sharing the batch's memory. */
  get payload(): Buffer {
    return this.#batch.subarray(this.payloadStart, this.#end);
  }
}

function badBatch(what: string): HoldfastError {
  return new HoldfastError('bad_batch', `not a batch: ${what}`, false);
}
