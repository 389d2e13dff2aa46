/** Damage to bytes for fuzz tests: what a bad link, bad firmware or somebody with bad intent makes of good frames. */
import fc from 'fast-check';

type Mutation = (bytes: Buffer) => Buffer;

/** Bytes of both protocols that mean something, and numbers at the edges of what fits. */
const TELLING = [
  ...['{', '}', '[', ']', '"', ',', ':', '\\', '\\u0000', 'null', '1e999', '-0', '{"data":1}', '"seq":', '"time":-1,'],
  ...['\u00e9', '\ufeff', '"data":', '"report":{},', '[[[[[[[[[[[[[[[[[['],
].map((text) => Buffer.from(text));

const NUMBERS = [0, 1, 19, 20, 0x7fffffff, 0x80000000, 0xffffffff].map((number) => {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(number);
  return bytes;
});

const at = fc.double({ min: 0, max: 1, noNaN: true });

function splice(bytes: Buffer, where: number, removed: number, inserted: Uint8Array): Buffer {
  const start = Math.floor(where * bytes.length);
  return Buffer.concat([bytes.subarray(0, start), inserted, bytes.subarray(start + removed)]);
}

const mutation: fc.Arbitrary<Mutation> = fc.oneof(
  fc.tuple(at, fc.nat(255)).map(
    ([where, byte]): Mutation =>
      (bytes) =>
        splice(bytes, where, 1, Buffer.from([byte])),
  ),
  fc.tuple(at, fc.nat(40)).map(
    ([where, count]): Mutation =>
      (bytes) =>
        splice(bytes, where, count, Buffer.alloc(0)),
  ),
  fc.tuple(at, fc.constantFrom(...TELLING)).map(
    ([where, text]): Mutation =>
      (bytes) =>
        splice(bytes, where, 0, text),
  ),
  fc.tuple(at, fc.constantFrom(...NUMBERS)).map(
    ([where, text]): Mutation =>
      (bytes) =>
        splice(bytes, where, 4, text),
  ),
  at.map(
    (where): Mutation =>
      (bytes) =>
        bytes.subarray(0, Math.floor(where * bytes.length)),
  ),
  fc.tuple(at, at, fc.nat(60)).map(([where, from, count]): Mutation => (bytes) => {
    const start = Math.floor(from * bytes.length);
    return splice(bytes, where, 0, bytes.subarray(start, start + count));
  }),
);

/** What `good` makes, damaged in up to three places, sometimes nothing but random bytes. */
export function mutated(good: fc.Arbitrary<Buffer>): fc.Arbitrary<Buffer> {
  const damaged = fc
    .tuple(good, fc.array(mutation, { maxLength: 3 }))
    .map(([bytes, mutations]) => mutations.reduce((damagedBytes, mutate) => mutate(damagedBytes), bytes));
  const noise = fc.uint8Array({ maxLength: 200 }).map((bytes) => Buffer.from(bytes));
  return fc.oneof({ arbitrary: damaged, weight: 9 }, { arbitrary: noise, weight: 1 });
}
