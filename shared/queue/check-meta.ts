/** The two meta pages of data.mdb, checked; see check-file.ts for their layout. */
import { readSync } from 'node:fs';

const MAGIC = 0xbeefc0de;
const DATA_VERSION = 2;
const META_FLAG = 8;
const META_BYTES = 160;
const EMPTY = 0xffff_ffff_ffff_ffffn;

export const TREE_BYTES = 48;
export const MAX_PAGE_BYTES = 65_536;

/** What does not fit, in words. */
export class Problem extends Error {}

export interface Tree {
  readonly name: string;
  readonly root: number | undefined;
  readonly depth: number;
  readonly entries: number;
}

export interface Meta {
  readonly pageBytes: number;
  /** The last transaction that was committed. */
  readonly transaction: number;
  readonly lastPage: number;
  readonly trees: readonly Tree[];
}

/**
 * The meta page that is in force. Transactions write the two in turn; one that is behind by more than one was lost.
 * @throws Problem
 */
export function readMeta(descriptor: number): Meta {
  const first = readMetaPage(descriptor, 0, 0);
  const second = readMetaPage(descriptor, 1, first.pageBytes);
  const isPair = Math.abs(first.transaction - second.transaction) === 1;
  if (!isPair && first.transaction + second.transaction > 0) {
    throw new Problem(`its meta pages are of transactions ${first.transaction} and ${second.transaction}`);
  }
  return first.transaction > second.transaction ? first : second;
}

function readMetaPage(descriptor: number, number: number, pageBytes: number): Meta {
  const page = Buffer.alloc(META_BYTES);
  const isWhole = readSync(descriptor, page, 0, META_BYTES, number * pageBytes) === META_BYTES;
  const isMeta = page.readUInt16LE(18) === META_FLAG && page.readUInt32LE(24) === MAGIC;
  if (!isWhole || !isMeta || page.readUInt32LE(28) !== DATA_VERSION) {
    throw new Problem(`meta page ${number} is not one of LMDB data version ${DATA_VERSION}`);
  }
  const meta = {
    pageBytes: page.readUInt32LE(48),
    transaction: Number(page.readBigUInt64LE(152)),
    lastPage: Number(page.readBigUInt64LE(144)),
    trees: [readTree(page, 48, 'free'), readTree(page, 96, 'main')],
  };
  const isPower =
    meta.pageBytes >= 512 && meta.pageBytes <= MAX_PAGE_BYTES && (meta.pageBytes & (meta.pageBytes - 1)) === 0;
  if (!isPower || (number > 0 && meta.pageBytes !== pageBytes)) {
    throw new Problem(`meta page ${number} says pages have ${meta.pageBytes} bytes`);
  }
  return meta;
}

/** The 48 bytes of a tree, in a meta page or in the main tree. */
export function readTree(page: Buffer, at: number, name: string): Tree {
  const root = page.readBigUInt64LE(at + 40);
  return {
    name,
    root: root === EMPTY ? undefined : Number(root),
    depth: page.readUInt16LE(at + 6),
    entries: Number(page.readBigUInt64LE(at + 32)),
  };
}
