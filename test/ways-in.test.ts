/** The promise over every way in: an acked record is in the table exactly once, though the edge is killed with -9 meanwhile. */
import { rm } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { test } from 'tap';
import { History } from './faults/history/history.js';
import { dataOf } from './faults/history/payload.js';
import type { Findings } from './faults/history/findings.js';
import { randomFrom } from './faults/random.js';
import { drained } from './support/crash-run.js';
import { HttpDevice } from './support/http-device.js';
import { Pipeline } from './support/pipeline.js';
import { plantBug } from './support/planted.js';
import { UdpDevice, type UdpRecord } from './support/udp-device.js';

const SEED = 20_261_121;
const DEVICES = 4;
const KILLS = 3;
const LOSS = 0.2;
const TURN_MS = 10;
const MAX_PAUSE_MS = 300;
const REQUEST_RECORDS = 20;
/** With their payloads no more than 1,500 bytes. */
const DATAGRAM_RECORDS = 5;
/** Of each device, at least. */
const RECORDS = 200;
/** Records that wait for an ack at a time. */
const WINDOW_RECORDS = 30;

interface Run {
  readonly pipeline: Pipeline;
  readonly history: History;
  /** True after the last kill: until then every kill meets an edge under load. A slow machine sends on for its records. */
  over: boolean;
}

/** One device that sends until the run is over and all that it sent is acked. */
type Sender = (run: Run, index: number) => Promise<void>;

function isSending({ over }: Run, sent: number): boolean {
  return !over || sent < RECORDS;
}

function recordOf({ history }: Run, id: string, seq: number): UdpRecord {
  history.sent(id, seq);
  return { seq, time: Date.now(), data: dataOf(id, seq) };
}

/** Requests, each sent until it is acked. */
const sendByHttp: Sender = async (run, index) => {
  const id = `http-${index}`;
  const device = new HttpDevice(Number(new URL(run.pipeline.edgeUrl).port), id);
  for (let seq = 0; isSending(run, seq);) {
    const records = Array.from({ length: REQUEST_RECORDS }, () => recordOf(run, id, ++seq));
    // Refused, or cut, while the edge is away.
    while ((await device.send(records).catch(() => undefined))?.ack !== seq) await sleep(TURN_MS);
    run.history.acked(id, seq);
  }
  device.close();
};

/** Datagrams, of which some are lost on either way, sent until all their records are acked. */
const sendByUdp =
  (resendsFirst: 'oldest' | 'newest'): Sender =>
  async (run, index) => {
    const id = `udp-${index}`;
    const random = randomFrom(SEED + index);
    const device = await UdpDevice.open(run.pipeline.udpPort, id, '', () => random() < LOSS);
    let seq = 0;
    while (isSending(run, seq) || device.unacked.size > 0) {
      while (isSending(run, seq) && device.unacked.size + DATAGRAM_RECORDS <= WINDOW_RECORDS) {
        device.send(Array.from({ length: DATAGRAM_RECORDS }, () => recordOf(run, id, ++seq)));
      }
      await sleep(TURN_MS);
      resend(device, resendsFirst);
    }
    // Nothing is unacked: every seq was named by an ack.
    run.history.acked(id, seq);
    await device.close();
  };

function resend(device: UdpDevice, first: 'oldest' | 'newest'): void {
  const waiting = [...device.unacked.values()];
  if (first === 'newest') waiting.reverse();
  for (let at = 0; at < waiting.length; at += DATAGRAM_RECORDS) device.send(waiting.slice(at, at + DATAGRAM_RECORDS));
}

/** Lets devices send while the edge is killed, and looks at the table when all is through. */
async function findings(send: Sender, root?: string): Promise<{ found: Findings; acked: number }> {
  const pipeline = await Pipeline.start(root === undefined ? {} : { root });
  const history = new History();
  try {
    const run: Run = { pipeline, history, over: false };
    const senders = Array.from({ length: DEVICES }, (_, index) => send(run, index));
    const random = randomFrom(SEED);
    const { edge } = pipeline.services;
    for (let kill = 0; kill < KILLS; kill++) {
      await sleep(random() * MAX_PAUSE_MS);
      await edge.end('SIGKILL');
      await edge.start();
    }
    run.over = true;
    await Promise.all(senders);
    await drained(pipeline);
    return { found: await history.check({ databaseUrl: pipeline.databaseUrl }), acked: history.ackedRecords };
  } finally {
    history.close();
    await pipeline.stop();
    if (root !== undefined) await rm(root, { recursive: true, force: true });
  }
}

void test('a record acked by HTTP is in the table exactly once, though the edge is killed with -9', async (t) => {
  const { found, acked } = await findings(sendByHttp);
  t.ok(acked >= DEVICES * RECORDS, `${acked} records were acked`);
  t.strictSame(found.lines, []);
});

void test('a record acked by UDP is in the table exactly once, with a fifth of the datagrams lost too', async (t) => {
  const { found, acked } = await findings(sendByUdp('oldest'));
  t.ok(acked >= DEVICES * RECORDS, `${acked} records were acked`);
  t.strictSame(found.lines, []);
});

void test('the checker finds a planted ack that names more than is stored', async (t) => {
  const root = await plantBug({
    file: 'services/edge/udp/window.js',
    original: 'first: this.#first,',
    planted: 'first: 1,',
  });
  // What the new edge hears first is what was sent last, and some of what came before is lost on the way.
  const { found } = await findings(sendByUdp('newest'), root);
  t.ok(found.count('lost') > 0, 'acked records are missing from the table, and the checker says so');
});
