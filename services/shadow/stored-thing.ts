/**
 * A thing as both stores keep it: one value, which begins with what lists are filtered by. A list of its own beside the
 * values would cost a second put for every write (measured in LMDB: the same time on the JavaScript thread, half as much
 * again until the commit is on disk), and what it holds hardly ever changes.
 *
 *   0 u8 flags (1 connected, 2 has a type, 4 has a site)   1 u32 bytes of type   5 u32 bytes of site
 *   9 type, site (UTF-8)   .. value
 *
 * Little-endian. Redis cuts the beginning off by itself (redis-scripts.ts).
 */
import { HoldfastError } from '../../shared/errors.js';
import type { ListedThing, ThingWrite } from './store.js';

const Flag = { connected: 1, type: 2, site: 4 } as const;
const HEADER_BYTES = 9;
const TYPE_BYTES_AT = 1;
const SITE_BYTES_AT = 5;
/** A UTF-16 unit is at most so many bytes of UTF-8. */
const UTF8_BYTES = 3;

/** At least as many bytes as a thing takes. */
export function boundOf({ value, entry }: ThingWrite): number {
  return HEADER_BYTES + UTF8_BYTES * ((entry.type?.length ?? 0) + (entry.site?.length ?? 0)) + value.length;
}

/** Writes a thing at `at`, where boundOf() bytes must be left, and returns the offset after it. */
export function writeStored(buffer: Buffer, at: number, { value, entry }: ThingWrite): number {
  const { connected, type, site } = entry;
  buffer[at] = (connected ? Flag.connected : 0) | (type === null ? 0 : Flag.type) | (site === null ? 0 : Flag.site);
  const typeAt = at + HEADER_BYTES;
  const siteAt = type === null ? typeAt : typeAt + buffer.write(type, typeAt, 'utf8');
  const valueAt = site === null ? siteAt : siteAt + buffer.write(site, siteAt, 'utf8');
  buffer.writeUInt32LE(siteAt - typeAt, at + TYPE_BYTES_AT);
  buffer.writeUInt32LE(valueAt - siteAt, at + SITE_BYTES_AT);
  buffer.set(value, valueAt);
  return valueAt + value.length;
}

/** A thing of a list, from its stored bytes or from what stands in them before the value. */
export function listed(thing: string, stored: Buffer): ListedThing {
  const valueAt = valueStart(thing, stored);
  const siteAt = HEADER_BYTES + stored.readUInt32LE(TYPE_BYTES_AT);
  const flags = stored[0]!;
  return {
    thing,
    entry: {
      connected: (flags & Flag.connected) !== 0,
      type: (flags & Flag.type) === 0 ? null : stored.toString('utf8', HEADER_BYTES, siteAt),
      site: (flags & Flag.site) === 0 ? null : stored.toString('utf8', siteAt, valueAt),
    },
  };
}

/** The value of a thing, as a view of its stored bytes. */
export function valueOf(thing: string, stored: Buffer): Buffer {
  return stored.subarray(valueStart(thing, stored));
}

/** @throws HoldfastError store where the bytes are not of a thing */
function valueStart(thing: string, stored: Buffer): number {
  if (stored.length >= HEADER_BYTES) {
    const start = HEADER_BYTES + stored.readUInt32LE(TYPE_BYTES_AT) + stored.readUInt32LE(SITE_BYTES_AT);
    if (start <= stored.length) return start;
  }
  const message = `what the store holds of thing ${thing} is damaged (${stored.length} bytes); restore the store from a copy`;
  throw new HoldfastError('store', message, false);
}
