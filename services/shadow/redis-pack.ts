/**
 * Arguments of Redis commands, packed as MessagePack for `cmsgpack.unpack`: many arguments in one, which costs the
 * JavaScript thread a copy of their bytes and little else. Only two of its forms:
 *
 *   string   0xdb, u32 bytes, bytes     number   0xcb, f64       (big-endian)
 *
 * A pack has at most 2,000 arguments, because Lua's stack holds 8,000 values.
 */
import type { ThingWrite } from './store.js';
import { boundOf, writeStored } from './stored-thing.js';

const STRING = 0xdb;
const NUMBER = 0xcb;
const HEADER_BYTES = 5;
const NUMBER_BYTES = 9;
const PACK_ARGUMENTS = 2_000;
/** What a pack of things is ended at: Redis takes arguments of up to 512 MiB. */
const PACK_BYTES = 1_048_576;

/** Things and their stored bytes, in turn. */
export function packThings(things: readonly ThingWrite[]): Buffer[] {
  const packs: Buffer[] = [];
  for (let first = 0; first < things.length;) {
    const start = first;
    let bytes = 0;
    do {
      const write = things[first++]!;
      bytes += 2 * HEADER_BYTES + write.thing.length + boundOf(write);
    } while (first < things.length && 2 * (first - start) < PACK_ARGUMENTS && bytes < PACK_BYTES);
    const pack = Buffer.allocUnsafeSlow(bytes);
    let at = 0;
    for (let index = start; index < first; index++) at = writeThing(pack, at, things[index]!);
    packs.push(pack.subarray(0, at));
  }
  return packs;
}

/** Arguments as they come, ASCII, bytes or numbers; what belongs together in one command must come in twos. */
export function packArguments(values: readonly (string | Buffer | number)[]): Buffer[] {
  const packs: Buffer[] = [];
  for (let first = 0; first < values.length; first += PACK_ARGUMENTS) {
    packs.push(Buffer.concat(values.slice(first, first + PACK_ARGUMENTS).map(packArgument)));
  }
  return packs;
}

function writeThing(pack: Buffer, start: number, write: ThingWrite): number {
  const { thing } = write;
  pack[start] = STRING;
  pack.writeUInt32BE(thing.length, start + 1);
  const at = start + HEADER_BYTES + pack.write(thing, start + HEADER_BYTES, 'latin1');
  const end = writeStored(pack, at + HEADER_BYTES, write);
  pack[at] = STRING;
  pack.writeUInt32BE(end - at - HEADER_BYTES, at + 1);
  return end;
}

function packArgument(value: string | Buffer | number): Buffer {
  if (typeof value === 'number') {
    const packed = Buffer.allocUnsafe(NUMBER_BYTES);
    packed[0] = NUMBER;
    packed.writeDoubleBE(value, 1);
    return packed;
  }
  const bytes = typeof value === 'string' ? Buffer.from(value, 'latin1') : value;
  const packed = Buffer.allocUnsafe(HEADER_BYTES + bytes.length);
  packed[0] = STRING;
  packed.writeUInt32BE(bytes.length, 1);
  packed.set(bytes, HEADER_BYTES);
  return packed;
}
