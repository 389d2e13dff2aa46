/**
 * Checks data.mdb before LMDB maps it.
 *
 * LMDB trusts its file. Tried with lmdb 3.5.6: emptied, random or cut-off files end the process with SIGSEGV or SIGBUS and
 * without a word; one meta page of zeros silently takes the queue back by a transaction, which is acked data; a free list
 * that names a used page makes the next commit overwrite it. So every page that LMDB would walk through is looked at
 * first, and what does not fit is an error with a name. Batches are not read: they have checksums of their own.
 *
 *   page   0 u64 number   8 u64 transaction   18 u16 flags   20 u16 lower   22 u16 upper, or 20 u32 pages (overflow)
 *          24 u16 node offsets … nodes; all offsets count from byte 24
 *   meta   24 u32 magic   28 u32 version   48 tree of free pages   96 main tree   144 u64 last page   152 u64 transaction
 *   tree   0 u32 page size (of the free tree)   6 u16 depth   32 u64 entries   40 u64 root, all ones where empty  (48 bytes)
 *   node   0 u32 data size   4 u16 flags   6 u16 key size   8 key, data     (branch: 0 u48 page number)
 *   free   u64 count, then as many i64: a page number, or -n and the first of n pages, or 0
 *
 * Little-endian, data version 2. The file may end before the last page: free pages at its end were perhaps never written.
 */
import { closeSync, fstatSync, openSync, readSync } from 'node:fs';
import { MAX_PAGE_BYTES, Problem, readMeta, readTree, TREE_BYTES, type Meta, type Tree } from './check-meta.js';

const HEADER_BYTES = 24;
const NODE_BYTES = 8;
const OVERFLOW_REFERENCE_BYTES = 24;
const MAX_DEPTH = 32;

const PageFlag = { branch: 1, leaf: 2, overflow: 4 } as const;
const NodeFlag = { overflow: 1, tree: 2 } as const;

/** A page to look at: where it stands in its tree, and between which keys its own lie. */
interface Visit {
  readonly page: number;
  readonly level: number;
  readonly from: Buffer | undefined;
  readonly before: Buffer | undefined;
}

/**
 * Looks through the file.
 * @returns what is wrong, in words; 'written' where it changes under our eyes; undefined: LMDB can walk it
 */
export function checkFile(path: string): { readonly problem: string } | 'written' | undefined {
  const descriptor = openSync(path, 'r');
  const before = readBeginning(descriptor);
  try {
    new FileCheck(descriptor).run();
    return undefined;
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    // Both meta pages lie there, and every transaction writes one of them.
    return readBeginning(descriptor).equals(before) ? { problem: error.message } : 'written';
  } finally {
    closeSync(descriptor);
  }
}

function readBeginning(descriptor: number): Buffer {
  const beginning = Buffer.alloc(2 * MAX_PAGE_BYTES);
  readSync(descriptor, beginning, 0, beginning.length, 0);
  return beginning;
}

class FileCheck {
  readonly #meta: Meta;
  readonly #filePages: number;
  /** 1 for every page that a tree uses. */
  readonly #used: Uint8Array;
  readonly #trees: Tree[];
  readonly #freeLists: Buffer[] = [];
  readonly #header = Buffer.alloc(HEADER_BYTES);

  constructor(private readonly descriptor: number) {
    this.#meta = readMeta(descriptor);
    this.#filePages = Math.floor(fstatSync(descriptor).size / this.#meta.pageBytes);
    this.#used = new Uint8Array(this.#filePages);
    this.#trees = [...this.#meta.trees];
  }

  run(): void {
    for (let tree = this.#trees.pop(); tree !== undefined; tree = this.#trees.pop()) {
      const entries = tree.root === undefined ? 0 : this.#walk(tree, tree.root);
      if (entries !== tree.entries) {
        throw new Problem(`its ${tree.name} tree has ${entries} entries, not ${tree.entries}`);
      }
    }
    for (const list of this.#freeLists) this.#checkFreeList(list);
  }

  /** Walks a tree from the root. @returns how many entries its leaves have */
  #walk(tree: Tree, root: number): number {
    if (tree.depth > MAX_DEPTH) throw new Problem(`its ${tree.name} tree says to be ${tree.depth} levels deep`);
    const waiting: Visit[] = [{ page: root, level: 1, from: undefined, before: undefined }];
    let entries = 0;
    for (let visit = waiting.pop(); visit !== undefined; visit = waiting.pop()) {
      const isLeaf = visit.level === tree.depth;
      const page = Buffer.allocUnsafe(this.#meta.pageBytes);
      this.#read(page, visit.page, isLeaf ? PageFlag.leaf : PageFlag.branch);
      this.#use(visit.page, 1);
      const nodes = nodesOf(page, visit.page);
      if (tree.name !== 'free') checkOrder(page, nodes, visit, isLeaf);
      if (isLeaf) {
        entries += nodes.length;
        for (const node of nodes) this.#checkLeafNode(page, node, tree);
      } else {
        waiting.push(...childrenOf(page, nodes, visit));
      }
    }
    return entries;
  }

  #checkLeafNode(page: Buffer, node: number, tree: Tree): void {
    const bytes = page.readUInt32LE(node);
    const flags = page.readUInt16LE(node + 4);
    const data = node + NODE_BYTES + page.readUInt16LE(node + 6);
    const stored = flags === NodeFlag.overflow ? OVERFLOW_REFERENCE_BYTES : bytes;
    if (flags > NodeFlag.tree || data + stored > page.length) {
      throw new Problem(`an entry of its ${tree.name} tree has flags ${flags} and ${bytes} bytes`);
    }
    if (flags === NodeFlag.tree) {
      if (tree.name !== 'main' || bytes !== TREE_BYTES) throw new Problem(`its ${tree.name} tree holds another`);
      this.#trees.push(readTree(page, data, page.toString('latin1', node + NODE_BYTES, data)));
    } else if (flags === NodeFlag.overflow) {
      const value = this.#checkOverflow(page, data, bytes);
      if (tree.name === 'free') this.#freeLists.push(this.#readAt(Buffer.alloc(bytes), value));
    } else if (tree.name === 'free') {
      this.#freeLists.push(page.subarray(data, data + bytes));
    }
  }

  /** A value that has pages of its own: they must be there, and enough of them. @returns where in the file it starts */
  #checkOverflow(page: Buffer, reference: number, bytes: number): number {
    const number = Number(page.readBigUInt64LE(reference));
    const pages = Number(page.readBigUInt64LE(reference + 16));
    this.#read(this.#header, number, PageFlag.overflow);
    const isLarge = pages * this.#meta.pageBytes >= HEADER_BYTES + bytes;
    if (!isLarge || this.#header.readUInt32LE(20) !== pages || number + pages > this.#filePages) {
      throw new Problem(`the ${pages} pages from ${number} do not hold a value of ${bytes} bytes`);
    }
    this.#use(number, pages);
    return number * this.#meta.pageBytes + HEADER_BYTES;
  }

  #checkFreeList(list: Buffer): void {
    const entries = list.length < 8 ? -1 : Number(list.readBigUInt64LE(0));
    if (entries < 0 || entries * 8 > list.length - 8)
      throw new Problem(`a list of free pages has ${list.length} bytes`);
    for (let at = 8; at < 8 + 8 * entries; at += 8) {
      const entry = Number(list.readBigInt64LE(at));
      if (entry < 0) at += 8;
      const first = entry < 0 && at < 8 + 8 * entries ? Number(list.readBigInt64LE(at)) : entry;
      const end = entry < 0 ? first - entry : first + 1;
      if (first < 0 || end > this.#meta.lastPage + 1) throw new Problem(`pages ${first} to ${end - 1} count as free`);
      for (let page = first; page < Math.min(end, this.#filePages); page++) {
        if (this.#used[page] === 1) throw new Problem(`page ${page} is used and counts as free`);
      }
    }
  }

  #use(first: number, pages: number): void {
    for (let page = first; page < first + pages; page++) {
      if (this.#used[page] === 1) throw new Problem(`page ${page} is used twice`);
      this.#used[page] = 1;
    }
  }

  #read(into: Buffer, number: number, flags: number): void {
    if (number < 2 || number > this.#meta.lastPage || number >= this.#filePages) {
      throw new Problem(`page ${number} is not in a file of ${this.#filePages} pages`);
    }
    this.#readAt(into, number * this.#meta.pageBytes);
    const isItself = Number(into.readBigUInt64LE(0)) === number && into.readUInt16LE(18) === flags;
    if (!isItself || Number(into.readBigUInt64LE(8)) > this.#meta.transaction) {
      throw new Problem(`what should be page ${number} is something else`);
    }
  }

  #readAt(into: Buffer, at: number): Buffer {
    readSync(this.descriptor, into, 0, into.length, at);
    return into;
  }
}

/** Where the nodes of a branch or leaf page start, each checked to lie in the page with its key. */
function nodesOf(page: Buffer, number: number): readonly number[] {
  const lower = page.readUInt16LE(20);
  const upper = page.readUInt16LE(22);
  if (lower % 2 !== 0 || lower === 0 || lower > upper || upper > page.length - HEADER_BYTES) {
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

function keyOf(page: Buffer, node: number): Buffer {
  return page.subarray(node + NODE_BYTES, node + NODE_BYTES + page.readUInt16LE(node + 6));
}

/** Keys ascend, and lie where the page's parent says; the first of a branch page says nothing. */
function checkOrder(page: Buffer, nodes: readonly number[], visit: Visit, isLeaf: boolean): void {
  let last = visit.from;
  for (const node of isLeaf ? nodes : nodes.slice(1)) {
    const key = keyOf(page, node);
    const order = last === undefined ? 1 : Buffer.compare(key, last);
    const isAfter = order > 0 || (order === 0 && last === visit.from);
    if (!isAfter || (visit.before !== undefined && Buffer.compare(key, visit.before) >= 0)) {
      throw new Problem(`the keys of page ${visit.page} are out of order`);
    }
    last = key;
  }
}

function childrenOf(page: Buffer, nodes: readonly number[], { level, from, before }: Visit): Visit[] {
  return nodes.map((node, index) => ({
    page: page.readUIntLE(node, 6),
    level: level + 1,
    from: index === 0 ? from : keyOf(page, node),
    before: index + 1 < nodes.length ? keyOf(page, nodes[index + 1]!) : before,
  }));
}
