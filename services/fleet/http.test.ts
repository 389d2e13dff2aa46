import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import fc from 'fast-check';
import { test, type Test } from 'tap';
import { HoldfastError } from '../../shared/errors.js';
import {
  FLEET_FIRST_TIME_MS,
  FLEET_INTERVAL_MS,
  fleetDevice,
  produce,
  type FleetBench,
} from '../../test/support/fleet-device.js';
import { until } from '../../test/support/processes.js';
import { readRecordsAnswer } from './http-answer.js';

interface Request {
  readonly path: string;
  readonly authorization: string | undefined;
  readonly seqs: readonly number[];
  readonly times: readonly number[];
}

interface Answer {
  readonly status: number;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body: object;
}

interface Bench extends FleetBench {
  readonly requests: Request[];
  connections: number;
}

/** A device, and an HTTP server that answers as a test says; undefined: the connection is cut instead. */
async function makeDevice(t: Test, answerFor: (request: Request, bench: Bench) => Answer | undefined): Promise<Bench> {
  const serve = async (message: IncomingMessage, response: ServerResponse): Promise<void> => {
    const chunks: Buffer[] = [];
    for await (const chunk of message) chunks.push(chunk as Buffer);
    const value = JSON.parse(Buffer.concat(chunks).toString()) as { seq: number; time: number };
    const records = Array.isArray(value) ? (value as (typeof value)[]) : [value];
    const request = {
      path: message.url!,
      authorization: message.headers.authorization,
      seqs: records.map(({ seq }) => seq),
      times: records.map(({ time }) => time),
    };
    bench.requests.push(request);
    const answer = answerFor(request, bench);
    if (answer === undefined) {
      response.destroy();
      return;
    }
    const body = JSON.stringify(answer.body);
    response.writeHead(answer.status, { ...answer.headers, 'content-length': String(body.length) }).end(body);
  };
  const server = createServer((message, response) => void serve(message, response));
  server.listen(0, '127.0.0.1');
  server.on('connection', () => bench.connections++);
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const dialer = {
    edge: { host: '127.0.0.1', port, name: '127.0.0.1', isSecure: false },
    protocol: 'http',
    payloadBytes: 100,
  } as const;
  const made = fleetDevice(t, { dialer, bufferRecords: 2_000, token: 'right' }, async () => {
    const closed = once(server, 'close');
    server.close();
    server.closeAllConnections();
    await closed;
  });
  const bench: Bench = { requests: [], connections: 0, ...made };
  return bench;
}

function all({ seqs }: Request): Answer {
  return { status: 200, body: { ack: seqs.at(-1)! } };
}

void test('a backlog goes in few requests on one connection, each with the id, the token and the times', async (t) => {
  const bench = await makeDevice(t, all);
  const { device, counters, requests } = bench;
  produce(device, 1_000);
  device.connect(true);
  await until(() => counters.acked === 1_000);
  t.strictSame(
    requests.flatMap(({ seqs }) => seqs),
    Array.from({ length: 1_000 }, (_, index) => index + 1),
  );
  t.ok(requests.length < 10, `${requests.length} requests`);
  t.ok(
    requests.every(({ seqs, times }) =>
      times.every((time, at) => time === FLEET_FIRST_TIME_MS + (seqs[at]! - 1) * FLEET_INTERVAL_MS),
    ),
  );
  t.match(requests[0], { path: '/v1/devices/fleet-test-1/records', authorization: 'Bearer right' });
  t.equal(bench.connections, 1);
});

void test('a connection that the edge closes behind its answer is opened for the next record', async (t) => {
  const bench = await makeDevice(t, (request) => ({ ...all(request), headers: { connection: 'close' } }));
  const { device, counters } = bench;
  device.connect(true);
  produce(device, 1);
  await until(() => counters.acked === 1);
  produce(device, 1);
  await until(() => counters.acked === 2);
  t.match(counters, { up: 1, broken: 0, reconnects: 0, buffered: 0 });
  t.equal(bench.connections, 2);
});

void test('records in error are counted, wherever they stand, and the others are acked', async (t) => {
  const isBad = (seq: number): boolean => seq % 5 === 0;
  const { device, counters } = await makeDevice(t, ({ seqs }) => {
    const ack = seqs.filter((seq) => !isBad(seq)).at(-1) ?? 0;
    const errors = seqs.filter(isBad).map((seq) => ({ index: 0, code: 'bad_record', message: 'no', seq }));
    return { status: ack === 0 ? 400 : errors.length > 0 ? 207 : 200, body: { ack, errors } };
  });
  produce(device, 10);
  device.connect(true);
  await until(() => counters.buffered === 0);
  produce(device, 4);
  produce(device, 1);
  await until(() => counters.buffered === 0);
  t.match(counters, { acked: 12, refused: 3 });
  t.strictSame(device.ledger.acked(), [
    { first: 1, last: 4 },
    { first: 6, last: 9 },
    { first: 11, last: 14 },
  ]);
});

void test('an edge without room is asked again when it said so, for what it did not take', async (t) => {
  const { device, counters, requests, failures } = await makeDevice(t, (request, { requests: { length } }) => {
    if (length > 2) return all(request);
    const headers = { 'retry-after': '1' };
    if (length === 1) return { status: 429, headers, body: { errors: [{ code: 'request_rate', message: 'no' }] } };
    return { status: 503, headers, body: { ack: 3, errors: [{ index: 3, code: 'memory', message: 'no room' }] } };
  });
  produce(device, 5);
  device.connect(true);
  await until(() => counters.acked === 5);
  t.strictSame(
    requests.map(({ seqs }) => seqs[0]),
    [1, 1, 4],
  );
  t.match(counters, { sentAway: 2, broken: 0, refused: 0 });
  t.strictSame(failures, []);
});

void test('a request that is not answered is sent again, and one that is not let in ends the fleet', async (t) => {
  const { device, counters, requests, failures } = await makeDevice(t, (request, { requests: { length } }) => {
    if (length === 1) return undefined;
    if (length === 2) return all(request);
    return { status: 403, body: { errors: [{ code: 'credential', message: 'not yours' }] } };
  });
  produce(device, 2);
  device.connect(true);
  await until(() => counters.acked === 2);
  t.match(counters, { broken: 1, resent: 2 });
  produce(device, 1);
  await until(() => failures.length > 0);
  t.match(failures[0], { code: 'device_refused', message: /403 Forbidden: .*not yours/ });
  // Nobody ends this fleet, so the device may have come back already.
  const [first, again, refused] = requests.map(({ seqs }) => seqs);
  t.strictSame([first, again, refused], [[1, 2], [1, 2], [3]]);
});

void test('a body that is too long is sent again record by record, and a record that is too long is refused', async (t) => {
  const { device, counters } = await makeDevice(t, (request) => {
    const isTooLong = request.seqs.length > 1 || request.seqs[0] === 2;
    return isTooLong ? { status: 413, body: { errors: [{ code: 'too_large', message: 'no' }] } } : all(request);
  });
  produce(device, 3);
  device.connect(true);
  await until(() => counters.buffered === 0);
  t.match(counters, { acked: 2, refused: 1 });
});

const wholeAnswer = fc
  .record({
    status: fc.constantFrom(200, 207, 400, 401, 413, 429, 503),
    ack: fc.nat(1_000_000),
    seqs: fc.array(fc.nat(1_000_000), { maxLength: 5 }),
    text: fc.string({ maxLength: 40 }),
    retryAfter: fc.option(fc.nat(5_000), { nil: undefined }),
  })
  .map((parts) => {
    const errors = parts.seqs.map((seq) => ({ index: 0, code: 'bad_json', message: parts.text, seq }));
    const body = JSON.stringify({ ack: parts.ack, errors });
    const retry = parts.retryAfter === undefined ? '' : `Retry-After: ${parts.retryAfter}\r\n`;
    const head = `HTTP/1.1 ${parts.status} Some Words\r\n${retry}Content-Length: ${Buffer.byteLength(body)}\r\n\r\n`;
    return { ...parts, bytes: Buffer.from(head + body) };
  });

void test('an answer says what it says once it is whole, and nothing before', (t) => {
  const property = fc.property(wholeAnswer, fc.nat(), (whole, cut) => {
    const { bytes, status, ack, seqs, retryAfter } = whole;
    const part = cut % bytes.length;
    if (readRecordsAnswer(bytes, part) !== undefined) return false;
    const read = readRecordsAnswer(Buffer.concat([bytes, Buffer.from('more')]), bytes.length + 4);
    if (read?.bytes !== bytes.length) return false;
    const { answer } = read;
    const isRoom = status !== 429 && status !== 503;
    const expectedMs = retryAfter === undefined ? undefined : Math.min(retryAfter, 3_600) * 1_000;
    const isRight = isRoom ? answer.refusal === undefined : answer.refusal?.retryAfterMs === expectedMs;
    return isRight && answer.ack === ack && answer.errors.every(({ seq }, at) => seq === seqs[at]);
  });
  fc.assert(property, { numRuns: 500 });
  t.end();
});

void test('any bytes at all are an answer, the start of one, or a bad one', (t) => {
  const heads = fc.constantFrom('', 'HTTP/1.1 200 OK\r\n', 'HTTP/1.1 207 M\r\ncontent-length: 9\r\n\r\n');
  const property = fc.property(heads, fc.uint8Array({ maxLength: 60 }), (head, rest) => {
    const bytes = Buffer.concat([Buffer.from(head), rest]);
    try {
      return (readRecordsAnswer(bytes, bytes.length)?.bytes ?? 0) <= bytes.length;
    } catch (error) {
      return error instanceof HoldfastError && error.code === 'bad_frame';
    }
  });
  fc.assert(property, { numRuns: 1_000 });
  const read = (text: string): unknown => readRecordsAnswer(Buffer.from(text), text.length);
  t.throws(() => read('HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}'), /without an ack/);
  t.throws(() => read('HTTP/1.1 200 OK\r\ncontent-length: 99999999\r\n\r\n'), /bytes/);
  t.throws(() => read(`HTTP/1.1 200 OK\r\n${'x'.repeat(20_000)}`), /bytes of headers/);
  t.end();
});
