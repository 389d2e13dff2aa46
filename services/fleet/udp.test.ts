import { createSocket, type RemoteInfo, type Socket } from 'node:dgram';
import { once } from 'node:events';
import fc from 'fast-check';
import { test, type Test } from 'tap';
import { binaryRecord } from '../../test/support/device-socket.js';
import { FLEET_DEVICE_ID as ID, fleetDevice, produce, type FleetBench } from '../../test/support/fleet-device.js';
import { until } from '../../test/support/processes.js';
import { udpDatagram } from '../../test/support/udp-device.js';
import {
  DATAGRAM_BYTES,
  isNamed,
  makeDatagram,
  MAX_DATAGRAM_PAYLOAD_BYTES,
  readEdgeDatagram,
} from './udp-datagrams.js';

const KEY = 'the token';

/** A datagram of an edge: its body and its magic, sealed by the device of the tests. */
function fromEdge(magic: string, numbers: readonly number[], last: number, id = ID, key = KEY): Buffer {
  const body = Buffer.alloc(numbers.length * 8 + (magic === 'HFA1' ? 4 : 1));
  numbers.forEach((number, index) => body.writeDoubleLE(number, index * 8));
  if (magic === 'HFA1') body.writeUInt32LE(last, numbers.length * 8);
  else body[numbers.length * 8] = last;
  return udpDatagram(id, body, key, magic);
}

/** An edge without a queue, which does what a test says. */
class DatagramEdge {
  /** The seqs of each datagram that came. */
  readonly datagrams: number[][] = [];
  readonly bytes: number[] = [];
  readonly #socket: Socket = createSocket('udp4');
  onDatagram: (seqs: readonly number[], answer: (bytes: Buffer) => void) => void = () => undefined;

  static async start(): Promise<DatagramEdge> {
    const edge = new DatagramEdge();
    edge.#socket.bind(0, '127.0.0.1');
    await once(edge.#socket, 'listening');
    edge.#socket.on('message', (bytes, source) => edge.#receive(bytes, source));
    return edge;
  }

  get port(): number {
    return this.#socket.address().port;
  }

  async stop(): Promise<void> {
    const closed = once(this.#socket, 'close');
    this.#socket.close();
    await closed;
  }

  #receive(bytes: Buffer, source: RemoteInfo): void {
    const seqs: number[] = [];
    for (let at = 5 + ID.length; at < bytes.length - 16; at += 4 + bytes.readUInt32LE(at)) {
      seqs.push(bytes.readDoubleLE(at + 8));
    }
    this.datagrams.push(seqs);
    this.bytes.push(bytes.length);
    this.onDatagram(seqs, (answer) => this.#socket.send(answer, source.port, source.address));
  }
}

interface Bench extends FleetBench {
  readonly edge: DatagramEdge;
}

async function makeDevice(t: Test, bufferRecords = 1_000): Promise<Bench> {
  const edge = await DatagramEdge.start();
  const address = { host: '127.0.0.1', port: edge.port, name: '127.0.0.1', isSecure: false };
  const dialer = { edge: address, protocol: 'udp', payloadBytes: 200 } as const;
  return { edge, ...fleetDevice(t, { dialer, bufferRecords, token: KEY }, () => edge.stop()) };
}

void test('a datagram is what another reading of the layout makes of it', (t) => {
  const property = fc.property(
    fc.stringMatching(/^[A-Za-z0-9][A-Za-z0-9._:-]{0,127}$/),
    fc.array(fc.record({ seq: fc.integer({ min: 1, max: 2 ** 50 }), time: fc.integer({ min: 1, max: 2 ** 42 }) })),
    fc.string({ maxLength: 43 }),
    (id, records, key) => {
      const bytes = Buffer.concat(records.map((record) => binaryRecord({ ...record, payload: '{}' })));
      return makeDatagram(id, bytes, key).equals(udpDatagram(id, bytes, key));
    },
  );
  fc.assert(property, { numRuns: 200 });
  t.end();
});

void test('acks and errors are read where the edge sealed them, and name the seqs that they name', (t) => {
  const property = fc.property(
    fc.integer({ min: 1, max: 2 ** 50 }),
    fc.nat(100),
    fc.nat(2 ** 32 - 1),
    fc.nat(200),
    (first, more, bitmap, after) => {
      const last = first + more;
      const bytes = fromEdge('HFA1', [first, last], bitmap);
      const ack = readEdgeDatagram(bytes, ID, KEY);
      if (ack?.type !== 'ack') return false;
      const seq = first + after;
      const bit = seq - last - 2;
      const expected = seq <= last || (bit >= 0 && bit < 32 && ((BigInt(bitmap) >> BigInt(bit)) & 1n) === 1n);
      return ack.bitmap === bitmap && isNamed(ack, seq) === expected && !isNamed(ack, first - 1);
    },
  );
  fc.assert(property, { numRuns: 500 });
  t.strictSame(readEdgeDatagram(fromEdge('HFE1', [7], 1), ID, KEY), { type: 'error', seq: 7, code: 'bad_record' });
  t.match(readEdgeDatagram(fromEdge('HFE1', [7], 77), ID, KEY), { code: 'code 77' });
  t.equal(readEdgeDatagram(fromEdge('HFA1', [1, 2], 0, ID, 'another key'), ID, KEY), undefined);
  t.equal(readEdgeDatagram(fromEdge('HFA1', [1, 2], 0, 'another'), ID, KEY), undefined);
  t.equal(readEdgeDatagram(fromEdge('HFE1', [1, 2], 0), ID, KEY), undefined, 'an error of the wrong size');
  t.end();
});

void test('any bytes at all are read or passed over, and none that was changed is believed', (t) => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 120 }), (bytes) => {
      return readEdgeDatagram(Buffer.from(bytes), ID, KEY) === undefined;
    }),
    { numRuns: 1_000 },
  );
  const ack = fromEdge('HFA1', [1, 2], 5);
  for (let at = 0; at < ack.length; at++) {
    const changed = Buffer.from(ack);
    changed[at]! ^= 1;
    t.equal(readEdgeDatagram(changed, ID, KEY), undefined, `byte ${at}`);
  }
  t.equal(
    makeDatagram('fleet-01234567-4999999', Buffer.alloc(MAX_DATAGRAM_PAYLOAD_BYTES + 24), '').length,
    DATAGRAM_BYTES,
  );
  t.end();
});

void test('acks that overtake are held back, and what none has named is sent again, by itself', async (t) => {
  const { edge, device, counters } = await makeDevice(t);
  edge.onDatagram = (seqs, answer) => {
    // The first time 2 and 4 are lost, the second 2.
    if (edge.datagrams.length === 1) answer(fromEdge('HFA1', [1, 1], 0b1));
    else if (seqs.includes(4)) answer(fromEdge('HFA1', [3, 6], 0));
    else answer(fromEdge('HFA1', [1, 6], 0));
  };
  produce(device, 3);
  device.connect(true);
  await until(() => counters.acked === 1);
  produce(device, 3);
  await until(() => counters.buffered === 0);
  t.strictSame(edge.datagrams.slice(0, 2), [
    [1, 2, 3],
    [4, 5, 6],
  ]);
  t.strictSame(edge.datagrams[2], [2], 'what is not named alone');
  t.match(counters, { acked: 6, made: 6, sent: 7, resent: 1, reconnects: 0 });
  t.strictSame(device.ledger.acked(), [{ first: 1, last: 6 }]);
});

void test('a backlog goes in full datagrams, and at most 32 records are under way', async (t) => {
  const { edge, device, counters } = await makeDevice(t);
  let farthest = 0;
  edge.onDatagram = (seqs, answer) => {
    // Nothing is acked before it comes a second time.
    const isAgain = edge.datagrams.flat().filter((seq) => seq === 1).length > 1;
    if (isAgain) answer(fromEdge('HFA1', [1, seqs.at(-1)!], 0));
    else farthest = Math.max(farthest, seqs.at(-1)!);
  };
  produce(device, 200);
  device.connect(true);
  await until(() => counters.buffered === 0);
  t.equal(farthest, 32);
  t.ok(edge.bytes.every((bytes) => bytes <= 1_500));
  t.ok(edge.datagrams.length < 80, `${edge.datagrams.length} datagrams`);
  t.strictSame(device.ledger.acked(), [{ first: 1, last: 200 }]);
});

void test('a record in error is counted and not acked, and the rest goes on', async (t) => {
  const { edge, device, counters } = await makeDevice(t);
  edge.onDatagram = (seqs, answer) => {
    if (seqs.length === 1 && seqs[0] === 2) answer(fromEdge('HFE1', [2], 1));
    else answer(fromEdge('HFA1', [1, 1], 0b11));
  };
  produce(device, 4);
  device.connect(true);
  await until(() => counters.buffered === 0);
  t.match(counters, { acked: 3, refused: 1 });
  t.strictSame(device.ledger.acked(), [
    { first: 1, last: 1 },
    { first: 3, last: 4 },
  ]);
});

void test('a device that is offline neither sends nor reads, and a full buffer gives up its oldest', async (t) => {
  const { edge, device, counters, failures } = await makeDevice(t, 40);
  let isHeard = false;
  edge.onDatagram = (seqs, answer) => {
    if (isHeard) answer(fromEdge('HFA1', [seqs[0]!, seqs.at(-1)!], 0));
  };
  device.connect(true);
  produce(device, 30);
  await until(() => edge.datagrams.flat().length >= 30);
  // Beyond what may be under way, and beyond the buffer.
  produce(device, 60);
  await until(() => edge.datagrams.flat().includes(82));
  device.disconnect();
  t.match(counters, { up: 0, dropped: 50, buffered: 40 });
  const before = edge.datagrams.length;
  produce(device, 1);
  t.equal(edge.datagrams.length, before);
  isHeard = true;
  device.connect(true);
  await until(() => counters.buffered === 0);
  t.strictSame(device.ledger.acked(), [{ first: 52, last: 91 }]);
  t.strictSame(failures, []);
});
