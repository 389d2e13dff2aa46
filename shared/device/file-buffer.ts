/**
 * A device's buffer that outlives its process: an append-only log in segments, `<first seq>.log`, beside `done`, the seq
 * through which everything is acked or refused.
 *
 * append() has written the entry when it returns, so that it survives the process at any moment (kill -9); with `sync` it is
 * on disk as well and survives a power cut, for one fdatasync a record. At open a torn end is cut off, a damaged entry is
 * stepped over and counted, and the seq goes on after the last that was ever given, also where all of the log was done and
 * is deleted. Without `sync` a power cut can take the log's end back; its seqs are then given again, and the time that goes
 * with each keeps the two records apart.
 *
 * One process at a time may use a directory. The files never hold more than maxBytes; a segment is deleted when all of it
 * is done.
 */
import { mkdirSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { encodeRecordFrame, frameSeq, type DeviceKind } from '../device-frames.js';
import { HoldfastError } from '../errors.js';
import { bufferFull, type RecordBuffer } from './buffer.js';
import { DoneFile } from './done-file.js';
import { DROPPED, MAX_ENTRY_BYTES, encodeDropped, encodeEntry, walkEntries } from './entries.js';
import { Ledger } from './ledger.js';
import { Segment, syncDirectory } from './segment.js';

export interface FileLimits {
  readonly directory: string;
  /** Bytes of the log's files: 28 a record and its payload. */
  readonly maxBytes: number;
  /** True: append returns once the record is on disk. */
  readonly sync: boolean;
}

const MIN_BYTES = 64 * 1024;
const MAX_SEGMENT_BYTES = 1024 * 1024;
/** A segment is this part of the log at most, so that what is done frees room before all is. */
const SEGMENTS = 8;
const SEGMENT_NAME = /^\d{16}\.log$/;

export class FileBuffer implements RecordBuffer {
  readonly #limits: FileLimits;
  readonly #segmentBytes: number;
  readonly #done: DoneFile;
  readonly #ledger: Ledger;
  /** Oldest first; the last one is appended to. */
  readonly #segments: Segment[] = [];
  /** Where the record after `after` is to be read. */
  #cursor = { after: -1, segment: 0, offset: 0 };
  #damagedBytes = 0;

  /** @throws HoldfastError bad_config */
  constructor(limits: FileLimits) {
    if (limits.maxBytes < MIN_BYTES) {
      throw new HoldfastError('bad_config', `a file buffer needs maxBytes of at least ${MIN_BYTES}`, false);
    }
    this.#limits = limits;
    this.#segmentBytes = Math.min(MAX_SEGMENT_BYTES, Math.floor(limits.maxBytes / SEGMENTS));
    mkdirSync(limits.directory, { recursive: true, mode: 0o700 });
    this.#done = new DoneFile(join(limits.directory, 'done'));
    this.#ledger = new Ledger(this.#done.read());
    this.#open();
  }

  get acked(): number {
    return this.#ledger.done;
  }

  get lastSeq(): number {
    return this.#ledger.last;
  }

  get unacked(): number {
    return this.#ledger.open;
  }

  get damagedBytes(): number {
    return this.#damagedBytes;
  }

  append(kind: DeviceKind, timeMs: number, payload: Uint8Array): number {
    const seq = this.#ledger.last + 1;
    this.#write(encodeEntry(encodeRecordFrame(kind, seq, timeMs, payload)), this.#limits.maxBytes);
    this.#active.lastSeq = seq;
    this.#ledger.give(seq);
    return seq;
  }

  ack(seq: number): void {
    if (this.#ledger.settleThrough(seq)) this.#settled();
  }

  drop(seq: number): boolean {
    if (!this.#ledger.isOpen(seq)) return false;
    // Beyond the limit, if need be: a refused record that came back after a restart would be refused again, for ever.
    this.#write(encodeDropped(seq), Infinity);
    const before = this.#ledger.done;
    this.#ledger.settle(seq);
    if (this.#ledger.done > before) this.#settled();
    return true;
  }

  read(after: number, maxBytes: number, overheadBytes: number): readonly Buffer[] {
    const from = Math.max(after, this.#ledger.done);
    if (from !== this.#cursor.after) this.#cursor = { after: from, segment: 0, offset: 0 };
    const frames: Buffer[] = [];
    let bytes = 0;
    const take = (frame: Buffer): boolean => {
      bytes += frame.length + overheadBytes;
      if (bytes > maxBytes && frames.length > 0) return false;
      frames.push(frame);
      return true;
    };
    while (frames.length === 0 && this.#cursor.after < this.#ledger.last) this.#readChunk(take);
    return frames;
  }

  close(): void {
    for (const segment of this.#segments) segment.close();
    this.#segments.length = 0;
    this.#done.close();
  }

  get #active(): Segment {
    return this.#segments.at(-1)!;
  }

  get #bytes(): number {
    return this.#segments.reduce((sum, segment) => sum + segment.bytes, 0);
  }

  #open(): void {
    const names = readdirSync(this.#limits.directory).filter((name) => SEGMENT_NAME.test(name));
    const newest = names.sort().at(-1);
    for (const name of names) this.#openSegment(join(this.#limits.directory, name), name === newest);
    if (this.#segments.length === 0) this.#addSegment();
    this.#prune();
  }

  /** @param newest true where the end may be torn: the process died while it wrote it, before append had returned */
  #openSegment(path: string, newest: boolean): void {
    const segment = new Segment(path, this.#ledger.last);
    this.#segments.push(segment);
    const walk = walkEntries(segment.read(0, segment.bytes), true, (frame) => {
      const seq = frameSeq(frame);
      if (frame[4] === DROPPED) this.#ledger.settle(seq);
      else this.#found(seq);
      return true;
    });
    segment.lastSeq = this.#ledger.last;
    this.#damagedBytes += walk.damagedBytes + (newest ? 0 : segment.bytes - walk.end);
    segment.cut(walk.end);
  }

  /** Takes note of a record of the log, and that those before it that were not found are gone. */
  #found(seq: number): void {
    const before = this.#ledger.last;
    if (seq <= before) return;
    this.#ledger.give(seq);
    // Only what comes after a damaged place pays for the loop.
    for (let lost = before + 1; lost < seq; lost++) this.#ledger.settle(lost);
  }

  /** Reads on at the cursor until `take` has enough, or the chunk or the segment ends. */
  #readChunk(take: (frame: Buffer) => boolean): void {
    const cursor = this.#cursor;
    const segment = this.#segments[cursor.segment];
    if (segment === undefined) {
      // The log ended before the last seq: its end was damaged after it had been opened.
      this.#lose(cursor.after, this.#ledger.last + 1);
      this.#cursor = { after: this.#ledger.last, segment: this.#segments.length - 1, offset: this.#active.bytes };
      return;
    }
    if (cursor.offset >= segment.bytes || segment.lastSeq <= cursor.after) {
      this.#leave(segment);
      return;
    }
    const chunk = segment.read(cursor.offset, MAX_ENTRY_BYTES);
    const read = this.#walk(chunk, false, take) || this.#walk(chunk, true, take);
    if (!read) {
      this.#damagedBytes += segment.bytes - cursor.offset;
      cursor.offset = segment.bytes;
    }
  }

  #leave(segment: Segment): void {
    if (segment === this.#active && segment.lastSeq <= this.#cursor.after) {
      this.#cursor.after = this.#ledger.last;
      return;
    }
    this.#cursor.segment++;
    this.#cursor.offset = 0;
  }

  /** @returns false where no entry was read */
  #walk(chunk: Buffer, repair: boolean, take: (frame: Buffer) => boolean): boolean {
    const cursor = this.#cursor;
    const start = cursor.offset;
    let met = false;
    const open = this.#ledger.open;
    const walk = walkEntries(chunk, repair, (frame, end) => {
      met = true;
      const seq = frameSeq(frame);
      if (frame[4] !== DROPPED && seq > cursor.after) {
        this.#lose(cursor.after, seq);
        if (this.#ledger.isOpen(seq) && !take(frame)) return false;
        cursor.after = seq;
      }
      cursor.offset = start + end;
      return true;
    });
    // Damage that was there at open has been counted then.
    if (this.#ledger.open < open) this.#damagedBytes += walk.damagedBytes;
    return met;
  }

  /** Records between two seqs that could not be read are gone. */
  #lose(after: number, before: number): void {
    for (let seq = after + 1; seq < before; seq++) this.#ledger.settle(seq);
  }

  #write(entry: Buffer, maxBytes: number): void {
    const room = maxBytes - this.#bytes - entry.length;
    const idle = this.#active.lastSeq <= this.#ledger.done;
    const full = this.#active.bytes + entry.length > this.#segmentBytes;
    if (this.#active.bytes > 0 && (full || (idle && room < 0))) {
      this.#addSegment();
      this.#prune();
    }
    if (this.#bytes + entry.length > maxBytes) {
      throw bufferFull(`${this.unacked} records, ${this.#bytes} bytes of files, of at most ${maxBytes}`);
    }
    this.#active.append(entry, this.#limits.sync);
  }

  #addSegment(): void {
    const name = `${String(this.#ledger.last + 1).padStart(16, '0')}.log`;
    this.#segments.push(new Segment(join(this.#limits.directory, name), this.#ledger.last));
    if (this.#limits.sync) syncDirectory(this.#limits.directory);
  }

  #settled(): void {
    this.#done.write(this.#ledger.done);
    this.#prune();
  }

  #prune(): void {
    while (this.#segments.length > 1 && this.#segments[0]!.lastSeq <= this.#ledger.done) {
      this.#segments.shift()!.delete();
      if (this.#cursor.segment > 0) this.#cursor.segment--;
      else this.#cursor = { after: -1, segment: 0, offset: 0 };
    }
  }
}
