/** Frames for fuzz tests: good ones of both protocols, and what a bad link, bad firmware or bad intent makes of them. */
import fc from 'fast-check';
import { binaryRecord } from './device-socket.js';

type Mutation = (bytes: Buffer) => Buffer;

/** Bytes of both protocols that mean something, and numbers at the edges of what fits. */
const TELLING = [
  ...['{', '}', '[', ']', '"', ',', ':', '\\', '\\u0000', 'null', '1e999', '-0', '{"data":1}', '"seq":', '"time":-1,'],
  ...['\u00e9', '\ufeff', '"data":', '"report":{},', '{"get":"shadow"}', '"get":', '[[[[[[[[[[[[[[[[[['],
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

/** Payloads of records. */
const payload = fc.oneof(fc.jsonValue({ maxDepth: 3 }), fc.constant({ temperature: 80.5 }));

const said = fc.oneof(
  { arbitrary: fc.record({ data: payload }), weight: 3 },
  fc.record({ report: fc.constant({ valve: 'open' }) }),
  fc.record({ result: fc.constant({ id: 'c-1' }) }),
  fc.record({ data: payload, result: payload }),
  fc.record({ report: payload }),
);

const time = fc.oneof({ arbitrary: fc.nat(), weight: 8 }, fc.double());

/** JSON frames of records whose seqs rise from a number that the frame before may or may not have passed. */
export const jsonFrame = fc
  .tuple(fc.nat(40), fc.array(fc.oneof({ arbitrary: fc.tuple(said, time), weight: 8 }, payload), { maxLength: 6 }))
  .map(([first, elements]) => {
    const records = elements.map((element, index) =>
      Array.isArray(element) ? { seq: first + index, time: element[1] as number, ...(element[0] as object) } : element,
    );
    return Buffer.from(JSON.stringify(records.length === 1 ? records[0] : records));
  });

/** The same, binary. */
export const binaryFrame = fc
  .tuple(
    fc.nat(40),
    fc.array(
      fc.record({
        kind: fc.oneof({ arbitrary: fc.integer({ min: 1, max: 3 }), weight: 8 }, fc.nat(255)),
        time,
        payload: fc.oneof(
          { arbitrary: payload.map((value) => JSON.stringify(value)), weight: 8 },
          fc.uint8Array({ maxLength: 20 }).map((bytes) => Buffer.from(bytes)),
        ),
      }),
      { maxLength: 6 },
    ),
  )
  .map(([first, records]) =>
    Buffer.concat(records.map((record, index) => binaryRecord({ seq: first + index, ...record }))),
  );

/** How many records a frame holds by its size fields, and whether they fill it. */
export function walk(frame: Buffer): { readonly records: number; readonly fills: boolean } {
  let at = 0;
  let records = 0;
  while (at + 24 <= frame.length) {
    const end = at + 4 + frame.readUInt32LE(at);
    if (end < at + 24 || end > frame.length) break;
    at = end;
    records++;
  }
  return { records, fills: at === frame.length && records > 0 };
}
