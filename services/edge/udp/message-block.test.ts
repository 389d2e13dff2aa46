import { deepStrictEqual, strictEqual } from 'node:assert/strict';
import fc from 'fast-check';
import koffi from 'koffi';
import { test } from 'tap';
import { HEADER, MessageBlock, VECTOR } from './message-block.js';

const SLOTS = 8;
const SLOT_BYTES = 21;
const NAME_BYTES = 16;

function newBlock(): MessageBlock {
  return new MessageBlock(SLOTS, SLOT_BYTES, NAME_BYTES, (memory) => koffi.address(memory));
}

void test('the layout is the one that a C compiler makes of the declarations', { skip: unknownLayout() }, (t) => {
  const vector = koffi.struct({ iov_base: 'void *', iov_len: 'size_t' });
  const message = koffi.struct({
    msg_name: 'void *',
    msg_namelen: 'uint32_t',
    msg_iov: koffi.pointer(vector),
    msg_iovlen: 'size_t',
    msg_control: 'void *',
    msg_controllen: 'size_t',
    msg_flags: 'int',
  });
  const header = koffi.struct({ msg_hdr: message, msg_len: 'unsigned int' });
  t.strictSame(VECTOR, {
    bytes: koffi.sizeof(vector),
    base: koffi.offsetof(vector, 'iov_base'),
    length: koffi.offsetof(vector, 'iov_len'),
  });
  t.strictSame(HEADER, {
    bytes: koffi.sizeof(header),
    name: koffi.offsetof(message, 'msg_name'),
    nameBytes: koffi.offsetof(message, 'msg_namelen'),
    vector: koffi.offsetof(message, 'msg_iov'),
    vectorCount: koffi.offsetof(message, 'msg_iovlen'),
    length: koffi.offsetof(header, 'msg_len'),
  });
  t.end();
});

void test('what the kernel reads of a block is what was put into it, whatever was there before', (t) => {
  const block = newBlock();
  const to = fc.uint8Array({ minLength: NAME_BYTES, maxLength: NAME_BYTES });
  const datagram = fc.record({ bytes: fc.uint8Array({ maxLength: SLOT_BYTES }), to }, { noNullPrototype: true });
  fc.assert(
    fc.property(fc.array(datagram, { minLength: 1, maxLength: SLOTS }), fc.nat(SLOTS - 1), (datagrams, from) => {
      block.count = 0;
      for (const { bytes, to } of datagrams) block.add(Buffer.from(bytes), Buffer.from(to));
      strictEqual(block.count, datagrams.length);
      const start = from % datagrams.length;
      deepStrictEqual(readAsKernel(block.headersFrom(start), block.count - start), datagrams.slice(start));
    }),
  );
  t.end();
});

/** Follows the addresses that stand in the headers. */
function readAsKernel(headers: Uint8Array, count: number): { bytes: Uint8Array; to: Uint8Array }[] {
  const view = new DataView(headers.buffer, headers.byteOffset, headers.byteLength);
  const copyOf = (address: bigint, length: number): Uint8Array => new Uint8Array(koffi.view(address, length)).slice();
  return Array.from({ length: count }, (_, index) => {
    const at = index * HEADER.bytes;
    strictEqual(view.getBigUint64(at + HEADER.vectorCount, true), 1n);
    const vector = new DataView(koffi.view(view.getBigUint64(at + HEADER.vector, true), VECTOR.bytes));
    const length = Number(vector.getBigUint64(VECTOR.length, true));
    return {
      bytes: copyOf(vector.getBigUint64(VECTOR.base, true), length),
      to: copyOf(view.getBigUint64(at + HEADER.name, true), view.getUint32(at + HEADER.nameBytes, true)),
    };
  });
}

void test('a block takes no more than it has room for', (t) => {
  const block = newBlock();
  const to = Buffer.alloc(NAME_BYTES);
  t.throws(() => block.add(Buffer.alloc(SLOT_BYTES + 1), to), RangeError);
  for (let slot = 0; slot < SLOTS; slot++) block.add(Buffer.alloc(SLOT_BYTES), to);
  t.throws(() => block.add(Buffer.alloc(1), to), RangeError);
  t.equal(block.count, SLOTS);
  t.end();
});

/** Why the layout is not that of this machine, or false. */
function unknownLayout(): string | false {
  return koffi.sizeof('void *') === 8 ? false : 'LinuxSocket is for 64 bits';
}
