/**
 * Checks data.mdb before LMDB maps it.
 *
 * LMDB trusts its file. Tried with lmdb 3.5.6: emptied, random or cut-off files end the process with SIGSEGV or SIGBUS and
 * without a word; one meta page of zeros silently takes the queue back by a transaction, which is acked data. So every
 * page that LMDB would walk through is looked at first, and what does not fit is an error with a name. Values are not read:
 * they have checksums of their own.
 *
 *   page   0 u64 number   8 u64 transaction   18 u16 flags   20 u16 lower   22 u16 upper, or 20 u32 pages (overflow)
 *          24 u16 node offsets … nodes; all offsets count from byte 24
 *   meta   24 u32 magic   28 u32 version   48 tree of free pages   96 main tree   144 u64 last page   152 u64 transaction
 *   tree   0 u32 page size (of the free tree)   6 u16 depth   32 u64 entries   40 u64 root, all ones where empty  (48 bytes)
 *   node   0 u32 data size   4 u16 flags   6 u16 key size   8 key, data     (branch: 0 u48 page number)
 *
 * Little-endian, data version 2. The file may end before the last page: free pages at its end were perhaps never written.
 */
import { closeSync, fstatSync, openSync, readSync } from 'node:fs';

const MAGIC = 0xbeefc0de;
const DATA_VERSION = 2;
const META_BYTES = 160;
const HEADER_BYTES = 24;
const NODE_BYTES = 8;
const TREE_BYTES = 48;
const OVERFLOW_REFERENCE_BYTES = 24;
const MAX_DEPTH = 32;
const EMPTY = 0xffff_ffff_ffff_ffffn;

const PageFlag = { branch: 1, leaf: 2, overflow: 4, meta: 8 } as const;
const NodeFlag = { overflow: 1, tree: 2 } as const;

interface Tree {
  readonly name: string;
  readonly root: number | undefined;
  readonly depth: number;
  readonly entries: number;
}

interface Meta {
  readonly pageBytes: number;
  readonly transaction: number;
  readonly lastPage: number;
  readonly trees: readonly Tree[];
}

/** @returns what is wrong with the file, in words; undefined: LMDB can walk it */
export function problemOfFile(path: string): string | undefined {
  const descriptor = openSync(path, 'r');
  try {
    new FileCheck(descriptor).run();
    return undefined;
  } catch (error) {
    if (error instanceof Problem) return error.message;
    throw error;
  } finally {
    closeSync(descriptor);
  }
}

class Problem extends Error {}

class FileCheck {
  readonly #meta: Meta;
  readonly #filePages: number;
  readonly #trees: Tree[];
  readonly #header = Buffer.alloc(HEADER_BYTES);
  #visited = 0;

  constructor(private readonly descriptor: number) {
    const first = this.#readMeta(0, 0);
    const second = this.#readMeta(1, first.pageBytes);
    const isPair = Math.abs(first.transaction - second.transaction) === 1;
    if (!isPair && first.transaction + second.transaction > 0) {
      throw new Problem(`its meta pages are of transactions ${first.transaction} and ${second.transaction}`);
    }
    this.#meta = first.transaction > second.transaction ? first : second;
    this.#filePages = Math.floor(fstatSync(descriptor).size / this.#meta.pageBytes);
    this.#trees = [...this.#meta.trees];
  }

  run(): void {
    for (let tree = this.#trees.pop(); tree !== undefined; tree = this.#trees.pop()) {
      const entries = tree.root === undefined ? 0 : this.#walk(tree, tree.root);
      if (entries !== tree.entries) {
        throw new Problem(`its ${tree.name} tree has ${entries} entries, not ${tree.entries}`);
      }
    }
  }

  /** Walks a tree from the root. @returns how many entries its leaves have */
  #walk(tree: Tree, root: number): number {
    if (tree.depth > MAX_DEPTH) throw new Problem(`its ${tree.name} tree says to be ${tree.depth} levels deep`);
    const waiting = [{ page: root, level: 1 }];
    const page = Buffer.alloc(this.#meta.pageBytes);
    let entries = 0;
    for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) {
      if (++this.#visited > this.#filePages) throw new Problem('its pages form a ring');
      const isLeaf = next.level === tree.depth;
      this.#readPage(page, next.page, isLeaf ? PageFlag.leaf : PageFlag.branch);
      const nodes = this.#nodesOf(page, next.page);
      for (const node of nodes) {
        if (isLeaf) this.#checkLeafNode(page, node, next.page, tree);
        else waiting.push({ page: page.readUIntLE(node, 6), level: next.level + 1 });
      }
      if (isLeaf) entries += nodes.length;
    }
    return entries;
  }

  /** Where the nodes of a branch or leaf page start, each checked to lie in the page with its key. */
  #nodesOf(page: Buffer, number: number): readonly number[] {
    const lower = page.readUInt16LE(20);
    const upper = page.readUInt16LE(22);
    const room = page.length - HEADER_BYTES;
    if (lower % 2 !== 0 || lower === 0 || lower > upper || upper > room) {
      throw new Problem(`page ${number} says its space is free from ${lower} to ${upper}`);
    }
    return Array.from({ length: lower / 2 }, (_, index) => {
      const offset = page.readUInt16LE(HEADER_BYTES + 2 * index);
      const at = HEADER_BYTES + offset;
      const isInside = offset >= upper && at + NODE_BYTES <= page.length;
      if (!isInside || at + NODE_BYTES + page.readUInt16LE(at + 6) > page.length) {
        throw new Problem(`entry ${index} of page ${number} leaves the page`);
      }
      return at;
    });
  }

  #checkLeafNode(page: Buffer, node: number, number: number, tree: Tree): void {
    const bytes = page.readUInt32LE(node);
    const flags = page.readUInt16LE(node + 4);
    const data = node + NODE_BYTES + page.readUInt16LE(node + 6);
    const stored = flags === NodeFlag.overflow ? OVERFLOW_REFERENCE_BYTES : bytes;
    if (flags > NodeFlag.tree || data + stored > page.length) {
      throw new Problem(`an entry of page ${number} has flags ${flags} and ${bytes} bytes`);
    }
    if (flags === NodeFlag.overflow) this.#checkOverflow(page, data, bytes);
    if (flags !== NodeFlag.tree) return;
    if (tree.name !== 'main' || bytes !== TREE_BYTES)
      throw new Problem(`page ${number} holds a tree where none can be`);
    this.#trees.push(readTree(page, data, page.toString('latin1', node + NODE_BYTES, data)));
  }

  /** A value that has pages of its own: they must be there, and enough of them. */
  #checkOverflow(page: Buffer, reference: number, bytes: number): void {
    const number = Number(page.readBigUInt64LE(reference));
    const pages = Number(page.readBigUInt64LE(reference + 16));
    this.#readPage(this.#header, number, PageFlag.overflow);
    const isLarge = pages * this.#meta.pageBytes >= HEADER_BYTES + bytes;
    if (!isLarge || this.#header.readUInt32LE(20) !== pages || number + pages > this.#filePages) {
      throw new Problem(`the ${pages} pages from ${number} do not hold a value of ${bytes} bytes`);
    }
  }

  #readPage(into: Buffer, number: number, flags: number): void {
    if (number < 2 || number > this.#meta.lastPage || number >= this.#filePages) {
      throw new Problem(`page ${number} is not in a file of ${this.#filePages} pages`);
    }
    readSync(this.descriptor, into, 0, into.length, number * this.#meta.pageBytes);
    const isItself = Number(into.readBigUInt64LE(0)) === number && into.readUInt16LE(18) === flags;
    if (!isItself || Number(into.readBigUInt64LE(8)) > this.#meta.transaction) {
      throw new Problem(`what should be page ${number} is something else`);
    }
  }

  #readMeta(number: number, pageBytes: number): Meta {
    const page = Buffer.alloc(META_BYTES);
    const isWhole = readSync(this.descriptor, page, 0, META_BYTES, number * pageBytes) === META_BYTES;
    const isMeta = page.readUInt16LE(18) === PageFlag.meta && page.readUInt32LE(24) === MAGIC;
    if (!isWhole || !isMeta || page.readUInt32LE(28) !== DATA_VERSION) {
      throw new Problem(`meta page ${number} is not one of LMDB data version ${DATA_VERSION}`);
    }
    const meta = {
      pageBytes: page.readUInt32LE(48),
      transaction: Number(page.readBigUInt64LE(152)),
      lastPage: Number(page.readBigUInt64LE(144)),
      trees: [readTree(page, 48, 'free'), readTree(page, 96, 'main')],
    };
    const isPowerOfTwo = (meta.pageBytes & (meta.pageBytes - 1)) === 0;
    if (
      !isPowerOfTwo ||
      meta.pageBytes < 512 ||
      meta.pageBytes > 65_536 ||
      (number > 0 && meta.pageBytes !== pageBytes)
    ) {
      throw new Problem(`meta page ${number} says pages have ${meta.pageBytes} bytes`);
    }
    return meta;
  }
}

function readTree(page: Buffer, at: number, name: string): Tree {
  const root = page.readBigUInt64LE(at + 40);
  return {
    name,
    root: root === EMPTY ? undefined : Number(root),
    depth: page.readUInt16LE(at + 6),
    entries: Number(page.readBigUInt64LE(at + 32)),
  };
}
