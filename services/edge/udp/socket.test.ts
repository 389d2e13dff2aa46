import { deepStrictEqual } from 'node:assert/strict';
import { createSocket } from 'node:dgram';
import { spawnSync, type SpawnSyncReturns } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import fc from 'fast-check';
import { test, type Test } from 'tap';
import { packagePath } from '../../../shared/paths.js';
import { until } from '../../../test/support/processes.js';
import { LinuxSocket } from './linux-socket.js';
import { NodeSocket } from './node-socket.js';
import { createDatagramSocket, portOf, type DatagramSocket, type Datagrams, type Source } from './socket.js';

const LIMIT = 1_500;
const OPTIONS = { receiveBufferBytes: 8 * 1024 * 1024, receivedBytes: LIMIT, sentBytes: LIMIT + 500 } as const;
const HOSTS = ['127.0.0.1', '::1', 'localhost'] as const;

/** A socket, and what came by it. */
class Peer {
  readonly received: Buffer[] = [];
  readonly sources: Source[] = [];
  /** How many datagrams each read brought. */
  readonly reads: number[] = [];
  unsent = 0;
  onDatagram: (bytes: Buffer, source: Source) => void = () => undefined;
  port = 0;

  private constructor(readonly socket: DatagramSocket) {}

  static async open(t: Test, kind: typeof LinuxSocket | typeof NodeSocket, host: string, port = 0): Promise<Peer> {
    const socket: DatagramSocket = new kind(OPTIONS, {
      onDatagrams: (datagrams) => peer.#take(datagrams),
      onUnsent: (count) => (peer.unsent += count),
      onFailure: (error) => t.fail(String(error)),
    });
    const peer: Peer = new Peer(socket);
    t.teardown(() => socket.close());
    peer.port = await socket.open({ host, port });
    return peer;
  }

  #take(datagrams: Datagrams): void {
    this.reads.push(datagrams.count);
    for (let index = 0; index < datagrams.count; index++) {
      this.received.push(Buffer.from(datagrams.bytes(index)));
      this.sources.push(Buffer.from(datagrams.source(index)));
      this.onDatagram(datagrams.bytes(index), datagrams.source(index));
    }
  }
}

/** The source that `from` is to `to`: by a first datagram, which is forgotten. */
async function sourceAt(to: Peer, from: Peer, host: string): Promise<Source> {
  // A socket answers: somebody has to ask first.
  const asker = createSocket(host === '::1' ? 'udp6' : 'udp4');
  await new Promise<void>((resolve) => asker.bind(0, host, () => resolve()));
  asker.send('who', to.port, host);
  await until(() => to.sources.length > 0);
  await new Promise<void>((resolve) => asker.close(() => resolve()));
  const source = to.sources[0]!;
  source.writeUInt16BE(from.port, 2);
  for (const list of [to.received, to.sources, to.reads]) list.length = 0;
  return source;
}

/** Two sockets, and for each the source that the other is. */
async function openPair(
  t: Test,
  kind: typeof LinuxSocket | typeof NodeSocket,
  host: string = HOSTS[0],
): Promise<{ a: Peer; b: Peer; toA: Source; toB: Source }> {
  const [a, b] = [await Peer.open(t, kind, host), await Peer.open(t, kind, host)];
  return { a, b, toB: await sourceAt(a, b, host), toA: await sourceAt(b, a, host) };
}

const onLinux = process.platform === 'linux' && ['x64', 'arm64'].includes(process.arch);
const kinds = onLinux ? [LinuxSocket, NodeSocket] : [NodeSocket];

for (const kind of kinds) {
  for (const host of HOSTS) {
    void test(`${kind.name}: datagrams come whole, in order, and can be answered, at ${host}`, async (t) => {
      const { a, b, toA, toB } = await openPair(t, kind, host);
      b.onDatagram = (bytes, source) => b.socket.send(bytes, source);
      t.not(a.port, b.port);
      const datagrams = fc.array(fc.uint8Array({ maxLength: LIMIT, size: 'max' }), { minLength: 1, maxLength: 100 });
      await fc.assert(
        fc.asyncProperty(datagrams, async (sent) => {
          a.received.length = b.received.length = 0;
          for (const bytes of sent) a.socket.send(Buffer.from(bytes), toB);
          await until(() => a.received.length === sent.length);
          const expected = sent.map((bytes) => Buffer.from(bytes));
          deepStrictEqual(b.received, expected);
          deepStrictEqual(a.received, expected);
        }),
        { numRuns: 20 },
      );
      t.ok(b.sources.every((source) => source.equals(toA) && portOf(source) === a.port));
      t.equal(a.unsent + b.unsent, 0);
    });
  }

  void test(`${kind.name}: a datagram that is too long shows, and its neighbours are whole`, async (t) => {
    const { a, b, toB } = await openPair(t, kind);
    const sizes = [LIMIT, LIMIT + 1, 0, LIMIT + 500, 1, LIMIT + 1, LIMIT];
    for (const size of sizes) a.socket.send(Buffer.alloc(size, size), toB);
    await until(() => b.received.length === sizes.length);
    t.strictSame(
      b.received,
      sizes.map((size) => Buffer.alloc(Math.min(size, LIMIT + 1), size)),
    );
  });

  void test(`${kind.name}: what cannot be sent is counted, and keeps nothing else`, async (t) => {
    const { a, b, toB } = await openPair(t, kind);
    // To all of the network: a socket needs to be allowed that.
    const nowhere = Buffer.from(toB);
    if (kind === LinuxSocket) nowhere.fill(255, 4, 8);
    const toAll = kind === LinuxSocket ? nowhere : Buffer.concat([toB.subarray(0, 4), Buffer.from('255.255.255.255')]);
    for (const to of [toB, toAll, toAll, toB, toAll]) a.socket.send(Buffer.from('x'), to);
    await until(() => b.received.length === 2 && a.unsent === 3);
    a.socket.send(Buffer.from('y'), toB);
    await until(() => b.received.length === 3);
    t.strictSame(b.received.map(String), ['x', 'x', 'y']);
  });

  void test(`${kind.name}: what was given before the end is sent, and nothing is read after it`, async (t) => {
    const { a, b, toA, toB } = await openPair(t, kind);
    for (let count = 0; count < 300; count++) a.socket.send(Buffer.from([count % 256]), toB);
    b.socket.send(Buffer.from('too late'), toA);
    await a.socket.close();
    await until(() => b.received.length === 300);
    t.equal(a.received.length, 0);
    // Its port is free, and a second end is none.
    await a.socket.close();
    const next = await Peer.open(t, kind, HOSTS[0], a.port);
    t.equal(next.port, a.port);
  });

  void test(`${kind.name}: what the kernel refuses at the start is named`, async (t) => {
    const first = await Peer.open(t, kind, HOSTS[0]);
    await t.rejects(Peer.open(t, kind, HOSTS[0], first.port), /bind EADDRINUSE/);
    // An address of documentation, which is nobody's.
    await t.rejects(Peer.open(t, kind, '192.0.2.1'), /bind EADDRNOTAVAIL/);
    await t.rejects(Peer.open(t, kind, 'no-such-name.invalid'), /ENOTFOUND|EAI_AGAIN/);
  });
}

void test('a burst of datagrams is read in far fewer reads than datagrams', { skip: !onLinux }, async (t) => {
  const { a, b, toB } = await openPair(t, LinuxSocket);
  const burst = 200;
  for (let count = 0; count < burst; count++) a.socket.send(Buffer.alloc(100, count), toB);
  await until(() => b.received.length === burst);
  t.ok(b.reads.length <= burst / 8, `${b.reads.length} reads: ${b.reads.join(' ')}`);
  t.strictSame(
    b.received.map((bytes) => bytes[0]),
    Array.from({ length: burst }, (_, index) => index),
  );
});

void test(
  'every datagram that came was read, or was dropped by the kernel and counted',
  { skip: !onLinux },
  async (t) => {
    const { a, b, toB } = await openPair(t, LinuxSocket);
    t.equal(b.socket.dropped(), 0);
    let sent = 0;
    // Nothing is read within this turn: the buffer fills.
    while (b.socket.dropped() === 0) {
      for (let count = 0; count < 256; count++, sent++) a.socket.send(Buffer.alloc(LIMIT), toB);
    }
    const dropped = (): number => b.socket.dropped()!;
    await until(() => b.received.length + dropped() === sent);
    t.ok(dropped() > 0 && a.unsent === 0);
    await b.socket.close();
    t.equal(b.socket.dropped(), undefined);
  },
);

void test('this machine gets the socket that is for it', async (t) => {
  const owner = { onDatagrams: () => undefined, onUnsent: () => undefined, onFailure: () => undefined };
  t.ok((await createDatagramSocket(OPTIONS, owner)) instanceof (onLinux ? LinuxSocket : NodeSocket));
});

/**
 * A network of its own, whose loopback is slower than what is sent by it. On one CPU: the kernel has a backlog of received
 * packets for each, and a packet that left by one CPU's may arrive before those that wait in another's.
 */
const SLOW_NETWORK = [
  'unshare',
  '--net',
  '--map-root-user',
  'taskset',
  '--cpu-list',
  firstCpu(),
  'sh',
  '-c',
  'ip link set lo up && tc qdisc add dev lo root tbf rate 8mbit burst 2kb latency 30s && exec "$@"',
  'sh',
] as const;

/** One that this process may run on. */
function firstCpu(): string {
  const status = existsSync('/proc/self/status') ? readFileSync('/proc/self/status', 'latin1') : '';
  return /^Cpus_allowed_list:\s*(\d+)/m.exec(status)?.[1] ?? '0';
}

function inSlowNetwork(...command: readonly string[]): SpawnSyncReturns<string> {
  const [unshare, ...words] = [...SLOW_NETWORK, ...command];
  return spawnSync(unshare, words, { encoding: 'utf8', timeout: 60_000, killSignal: 'SIGKILL' });
}

const noSlowNetwork = inSlowNetwork('true').status === 0 ? false : 'no network can be made slow here';

void test(
  'where the network takes no more, answers wait and leave in order; what finds no room to wait is counted',
  { skip: noSlowNetwork },
  (t) => {
    const script = packagePath('dist', 'test', 'support', 'slow-datagrams.js');
    const { stdout, stderr, status } = inSlowNetwork(process.execPath, script);
    t.equal(status, 0, stderr);
    const { sent, unsent, received, isInOrder, late } = JSON.parse(stdout) as Record<string, number | boolean>;
    t.ok(Number(unsent) > 0);
    t.equal(Number(received) + Number(unsent), Number(sent), stdout);
    t.equal(isInOrder, true);
    t.equal(late, 1, 'and it sends again once there is room');
    t.end();
  },
);
