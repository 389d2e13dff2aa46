/**
 * A thing as one stored value, little-endian (value-writer.ts, section-codec.ts):
 *
 *   0 u32 magic "HFT1"   4 u32 crc32 of all with 0 here  8 u8 what there is (flags)   then, each where its flag is set
 *     type       text                            site   text
 *     presence   u8 connected | u8 has session (text) | f64 time of online | f64 time of the last change
 *     latest     f64 effective time | f64 time | f64 seq | text, a character a byte of the payload
 *     pending    u32 count, texts
 *     classic    document
 *     named      u8 count, each: text name | document
 *   document     u8 deleted | f64 version | f64 timestamp | desired section | reported section
 *
 * Values and their times lie side by side, and nothing is written as decimal text: that is several times faster than
 * JSON.stringify of the document with its metadata. The checksum finds what a disk has changed; beyond it every length is
 * checked, so that a damaged value is an error and never a crash or another thing's state.
 */
import { crc32 } from 'node:zlib';
import { Latest } from './latest.js';
import { Presence } from './presence.js';
import { readSection, writeSection } from './section-codec.js';
import { ShadowDocument } from './shadow-document.js';
import { MAX_NAMED_SHADOWS, Thing } from './thing.js';
import { ValueReader } from './value-reader.js';
import { ValueWriter } from './value-writer.js';

const MAGIC = 0x31544648; // "HFT1"
const HEADER_BYTES = 8;
const CRC_OF_HEADER = crc32(Buffer.from('HFT1\0\0\0\0'));

const Has = { type: 1, site: 2, presence: 4, latest: 8, pending: 16, classic: 32, named: 64 } as const;

const ownWriter = new ValueWriter();

/**
 * The thing as it is now.
 * @param writer where its value is written; without one it is not changed later, but it shares memory with other values, so
 *   do not keep it long
 */
export function encodeThing(thing: Thing, writer = ownWriter): Buffer {
  const { type, site, presence, latest, pending, classic, named } = thing;
  writer.reset();
  writer.u32(MAGIC);
  writer.u32(0);
  writer.u8(
    (type === null ? 0 : Has.type) |
      (site === null ? 0 : Has.site) |
      (presence === undefined ? 0 : Has.presence) |
      (latest === undefined ? 0 : Has.latest) |
      (pending.length === 0 ? 0 : Has.pending) |
      (classic === undefined ? 0 : Has.classic) |
      (named === undefined ? 0 : Has.named),
  );
  if (type !== null) writer.text(type);
  if (site !== null) writer.text(site);
  if (presence !== undefined) writePresence(writer, presence);
  if (latest !== undefined) writeLatest(writer, latest);
  if (pending.length > 0) {
    writer.u32(pending.length);
    for (const id of pending) writer.text(id);
  }
  if (classic !== undefined) writeDocument(writer, classic);
  if (named !== undefined) {
    writer.u8(named.size);
    for (const [name, document] of named) {
      writer.text(name);
      writeDocument(writer, document);
    }
  }
  const value = writer.finish();
  // Over all of it, where the checksum itself is still 0: one view of the memory is enough then.
  value.writeUInt32LE(crc32(value), 4);
  return value;
}

/**
 * The thing that was encoded.
 * @throws HoldfastError store where the value is not what encodeThing has made
 */
export function decodeThing(id: string, value: Buffer): Thing {
  const reader = new ValueReader(value, `thing ${id}`);
  if (reader.u32() !== MAGIC) throw reader.damaged('has no known form');
  if (reader.u32() !== crc32(value.subarray(HEADER_BYTES), CRC_OF_HEADER)) throw reader.damaged('fails its checksum');
  const thing = new Thing(id);
  const has = reader.u8();
  if ((has & Has.type) !== 0) thing.type = reader.text();
  if ((has & Has.site) !== 0) thing.site = reader.text();
  if ((has & Has.presence) !== 0) thing.presence = readPresence(reader);
  if ((has & Has.latest) !== 0) thing.latest = readLatest(reader);
  if ((has & Has.pending) !== 0) thing.restorePending(readPending(reader));
  if ((has & Has.classic) !== 0) thing.classic = readDocument(reader);
  if ((has & Has.named) !== 0) thing.named = readNamed(reader);
  reader.end();
  return thing;
}

function writePresence(writer: ValueWriter, { connected, session, onlineMs, changedMs }: Presence): void {
  writer.u8(connected ? 1 : 0);
  writer.u8(session === undefined ? 0 : 1);
  if (session !== undefined) writer.text(session);
  writer.f64(onlineMs);
  writer.f64(changedMs);
}

function readPresence(reader: ValueReader): Presence {
  const presence = new Presence();
  presence.connected = reader.u8() === 1;
  if (reader.u8() === 1) presence.session = reader.text();
  presence.onlineMs = reader.f64();
  presence.changedMs = reader.f64();
  return presence;
}

function writeLatest(writer: ValueWriter, latest: Latest): void {
  writer.f64(latest.effectiveMs);
  writer.f64(latest.timeMs);
  writer.f64(latest.seq);
  writer.latin1(latest.bytes);
}

function readLatest(reader: ValueReader): Latest {
  const latest = new Latest();
  const effectiveMs = reader.f64();
  const timeMs = reader.f64();
  const seq = reader.f64();
  latest.restore(reader.text(), effectiveMs, timeMs, seq);
  return latest;
}

function readPending(reader: ValueReader): string[] {
  const ids: string[] = [];
  for (let count = reader.u32(); count > 0; count--) ids.push(reader.text());
  return ids;
}

function writeDocument(writer: ValueWriter, document: ShadowDocument): void {
  writer.u8(document.isDeleted ? 1 : 0);
  writer.f64(document.version);
  writer.f64(document.timestamp);
  writeSection(writer, document.desired);
  writeSection(writer, document.reported);
}

function readDocument(reader: ValueReader): ShadowDocument {
  const isDeleted = reader.u8() === 1;
  const version = reader.f64();
  const timestamp = reader.f64();
  const document = new ShadowDocument(readSection(reader), readSection(reader));
  document.isDeleted = isDeleted;
  document.version = version;
  document.timestamp = timestamp;
  return document;
}

function readNamed(reader: ValueReader): Map<string, ShadowDocument> {
  const named = new Map<string, ShadowDocument>();
  const count = reader.u8();
  if (count > 2 * MAX_NAMED_SHADOWS) throw reader.damaged(`holds ${count} named shadows`);
  for (let i = 0; i < count; i++) named.set(reader.text(), readDocument(reader));
  return named;
}
