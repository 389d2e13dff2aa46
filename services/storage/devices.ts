/**
 * The devices of a merge, found by the bytes of their ids: an open-addressing hash table, because a string a record would
 * cost more than all the rest of its encoding.
 *
 * Each entry holds the part of the row that is the same for all rows of its device, encoded: device_id, type and site.
 */
import type { Context, ContextCache } from '../../shared/context.js';

/** Over this the table starts anew with the next merge, so that a changing fleet does not fill the memory. */
const MAX_ENTRIES = 200_000;
const FIRST_SLOTS = 1_024;
const ABSENT = -1;

const DEVICE_ID = /^[A-Za-z0-9][A-Za-z0-9._:-]{0,127}$/;
const NO_FIELDS = Buffer.alloc(0);

interface Entry {
  readonly id: Buffer;
  readonly name: string;
  merge: number;
  context: Context | undefined;
  fields: Buffer;
}

export class DeviceTable {
  #slots = new Int32Array(FIRST_SLOTS);
  #entries: Entry[] = [];
  #merge = 0;
  #met: Entry[] = [];

  /** The ids met since the last begin(), without those that are none. */
  get names(): readonly string[] {
    return this.#met.map((entry) => entry.name).filter((name) => DEVICE_ID.test(name));
  }

  /** Begins a merge: entry numbers of the one before are void. */
  begin(): void {
    this.#merge++;
    this.#met = [];
    if (this.#entries.length < MAX_ENTRIES) return;
    this.#entries = [];
    this.#slots = new Int32Array(FIRST_SLOTS);
  }

  /** The number of the device whose id is `batch[start..end)`. */
  find(batch: Buffer, start: number, end: number): number {
    const mask = this.#slots.length - 1;
    let slot = hash(batch, start, end) & mask;
    for (;;) {
      const index = this.#slots[slot]! + ABSENT;
      if (index === ABSENT) return this.#insert(batch, start, end, slot);
      const entry = this.#entries[index]!;
      if (isSame(entry.id, batch, start, end)) {
        if (entry.merge !== this.#merge) this.#meet(entry);
        return index;
      }
      slot = (slot + 1) & mask;
    }
  }

  /** Encodes the fields of every device of this merge, whose contexts the cache has loaded. */
  encode(contexts: Pick<ContextCache, 'get'>): void {
    for (const entry of this.#met) {
      const context = contexts.get(entry.name);
      if (context === entry.context || !DEVICE_ID.test(entry.name)) continue;
      entry.context = context;
      entry.fields = Buffer.concat([field(entry.id), textField(context.type), textField(context.site)]);
    }
  }

  /**
   * `device_id, type, site` as a binary COPY has them: each a 32-bit length (-1: null) and its bytes.
   * Empty where the id is not one that a device may have.
   */
  fields(index: number): Buffer {
    return this.#entries[index]!.fields;
  }

  #insert(batch: Buffer, start: number, end: number, slot: number): number {
    const id = Buffer.from(batch.subarray(start, end));
    const entry = { id, name: id.toString('latin1'), merge: 0, context: undefined, fields: NO_FIELDS };
    this.#meet(entry);
    this.#entries.push(entry);
    this.#slots[slot] = this.#entries.length;
    if (this.#entries.length * 2 > this.#slots.length) this.#grow();
    return this.#entries.length - 1;
  }

  #meet(entry: Entry): void {
    entry.merge = this.#merge;
    this.#met.push(entry);
  }

  #grow(): void {
    const slots = new Int32Array(this.#slots.length * 2);
    const mask = slots.length - 1;
    for (const [index, { id }] of this.#entries.entries()) {
      let slot = hash(id, 0, id.length) & mask;
      while (slots[slot] !== 0) slot = (slot + 1) & mask;
      slots[slot] = index + 1;
    }
    this.#slots = slots;
  }
}

/** FNV-1a over the id, finished so that the low bits depend on all of it. */
function hash(bytes: Buffer, start: number, end: number): number {
  let value = 0x811c9dc5;
  for (let at = start; at < end; at++) value = Math.imul(value ^ bytes[at]!, 0x01000193);
  return (value ^ (value >>> 15)) >>> 0;
}

function isSame(id: Buffer, batch: Buffer, start: number, end: number): boolean {
  if (id.length !== end - start) return false;
  for (let at = 0; at < id.length; at++) if (id[at] !== batch[start + at]) return false;
  return true;
}

function field(bytes: Buffer): Buffer {
  const length = Buffer.alloc(4);
  length.writeInt32BE(bytes.length);
  return Buffer.concat([length, bytes]);
}

function textField(text: string | null): Buffer {
  return text === null ? Buffer.from([0xff, 0xff, 0xff, 0xff]) : field(Buffer.from(text, 'utf8'));
}
