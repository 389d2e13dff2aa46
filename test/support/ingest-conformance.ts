/**
 * What the ingest promises, whatever protocol brings the records: one suite, run over every protocol's client.
 *
 * A protocol joins by an IngestClient. Its session says which seqs were acked one by one, however its acks look: a seq is
 * acked once the device may forget the record, and a seq in error never is. A protocol without connections opens a session
 * that is only a place to note replies; it says so in `hasConnections`, and what is about connections is left out.
 */
import { ok, strictEqual } from 'node:assert/strict';
import { setImmediate as turn } from 'node:timers/promises';
import type { Test } from 'tap';
import { deviceToken } from '../../shared/token.js';
import { TestEdge } from './edge.js';
import { until } from './processes.js';

export interface IngestRecord {
  readonly seq: number;
  readonly time?: number;
  /** Telemetry; or else a report. */
  readonly data?: unknown;
  readonly report?: unknown;
}

export interface IngestError {
  readonly code: string;
  /** Of the record, where the protocol says it. */
  readonly seq: number | undefined;
}

/** How a session has ended; 'lost': without a word, as by kill -9. */
export type IngestEnd = 'taken_over' | 'no_room' | 'restart' | 'lost';

export interface IngestSession {
  /** Sends records as one frame, packet or request. */
  send(records: readonly IngestRecord[]): void;
  /** Seqs that were acked. */
  readonly acked: ReadonlySet<number>;
  readonly errors: readonly IngestError[];
  /** undefined while it is open. */
  readonly end: IngestEnd | undefined;
  close(): Promise<void>;
}

export interface IngestClient {
  readonly protocol: string;
  readonly hasConnections: boolean;
  /** False where the protocol has no words for why a session ends: then it is 'lost'. */
  readonly saysWhyItEnds: boolean;
  /** As much payload as a record of the suite may have: under 8 KiB, and what fits the protocol. */
  readonly payloadBytes: number;
  /** @returns the session; or why the device is not let in, as the edge's metrics name it */
  connect(edge: TestEdge, deviceId: string, token?: string): Promise<IngestSession | string>;
}

const SECRET = 'a secret of the conformance suite';
/** 2026-01-01. */
const TIME_MS = 1_767_225_600_000;

/** A part of the suite: what it shows, and the run, which throws where that is not so. */
interface Conformance {
  readonly promise: string;
  readonly needsConnections: boolean;
  readonly run: (client: IngestClient) => Promise<void>;
}

async function withEdge(
  keys: Readonly<Record<string, string>>,
  work: (edge: TestEdge) => Promise<void>,
): Promise<void> {
  const edge = await TestEdge.start(keys);
  try {
    await work(edge);
  } finally {
    await edge.stop();
  }
}

async function open(client: IngestClient, edge: TestEdge, deviceId: string, token?: string): Promise<IngestSession> {
  const session = await client.connect(edge, deviceId, token);
  if (typeof session === 'string') throw new Error(`${deviceId} was not let in: ${session}`);
  return session;
}

/** How a session ends, as far as this protocol can say it. */
function ending({ saysWhyItEnds }: IngestClient, end: IngestEnd): IngestEnd {
  return saysWhyItEnds ? end : 'lost';
}

function record(seq: number, data: unknown = seq): IngestRecord {
  return { seq, time: TIME_MS + seq, data };
}

function untilAcked(session: IngestSession, seqs: readonly number[]): Promise<void> {
  return until(() => {
    if (session.end !== undefined) throw new Error(`the session ended: ${session.end}`);
    return seqs.every((seq) => session.acked.has(seq));
  });
}

const errors: Conformance = {
  promise: 'a record in error is told by its code and not stored; its neighbours are stored, and the session stays',
  needsConnections: false,
  run: (client) =>
    withEdge({ EDGE_VALIDATE_PAYLOADS: 'true', EDGE_PAYLOAD_LIMIT: '100', EDGE_JSON_DEPTH: '4' }, async (edge) => {
      const session = await open(client, edge, 'errors');
      const bad: readonly (readonly [code: string, record: IngestRecord])[] = [
        ['bad_time', { seq: 12, time: -1, data: 1 }],
        ['too_large', record(14, 'x'.repeat(100))],
        ['bad_json', record(16, [[[[[1]]]]])],
        ['bad_record', { seq: 18, time: TIME_MS, report: 7 }],
        ['bad_seq', record(0)],
      ];
      for (const [index, [, each]] of bad.entries()) session.send([record(11 + index * 2), each]);
      session.send([record(31)]);
      await until(() => session.errors.length === bad.length && session.acked.has(31));
      strictEqual(session.errors.map(({ code }) => code).join(), bad.map(([code]) => code).join());
      strictEqual([...session.acked].sort((a, b) => a - b).join(), '11,13,15,17,19,31');
      strictEqual((await edge.storedSeqs('errors')).join(), '11,13,15,17,19,31');
      strictEqual(session.end, undefined);
      await session.close();
    }),
};

const tokens: Conformance = {
  promise: 'a device comes in with its own token, and with no other and none',
  needsConnections: false,
  run: (client) =>
    withEdge({ EDGE_DEVICE_SECRET: SECRET }, async (edge) => {
      strictEqual(await client.connect(edge, 'press-1'), 'no_credential');
      strictEqual(await client.connect(edge, 'press-1', deviceToken(SECRET, 'press-2')), 'credential');
      strictEqual(await client.connect(edge, 'press-1', 'x'), 'credential');
      strictEqual(await client.connect(edge, 'press 1', deviceToken(SECRET, 'press 1')), 'bad_id');
      const session = await open(client, edge, 'press-1', deviceToken(SECRET, 'press-1'));
      session.send([record(1)]);
      await untilAcked(session, [1]);
      await session.close();
      strictEqual((await edge.storedSeqs('press-1')).join(), '1');
    }),
};

const acks: Conformance = {
  promise: 'an ack comes after the commit: whenever a record is acked, it can be read from the queue',
  needsConnections: false,
  run: (client) =>
    withEdge({}, async (edge) => {
      const session = await open(client, edge, 'acks');
      const count = 300;
      for (let seq = 1; seq <= count; seq += 3) session.send([record(seq), record(seq + 1), record(seq + 2)]);
      while (session.acked.size < count) {
        // Reading the queue takes no turn of the event loop, and replies come in one.
        await turn();
        const acked = [...session.acked];
        const stored = new Set(await edge.storedSeqs('acks'));
        for (const seq of acked) ok(stored.has(seq), `${seq} is acked and not stored`);
        if (session.end !== undefined) throw new Error(`the session ended: ${session.end}`);
      }
      await session.close();
      // One that was sent again may be there twice, which the table's key makes one row.
      strictEqual(new Set(await edge.storedSeqs('acks')).size, count);
    }),
};

const windows: Conformance = {
  promise: 'a device that sends more than its window is slowed or sent away; what is acked is stored, and it gets on',
  needsConnections: false,
  run: (client) =>
    withEdge({ EDGE_WINDOW: '64KiB', EDGE_FRAME_LIMIT: '16KiB', EDGE_PAYLOAD_LIMIT: '8KiB' }, async (edge) => {
      const seqs = Array.from({ length: 200 }, (_, index) => index + 1);
      const acked = new Set<number>();
      for (let sessions = 0; acked.size < seqs.length; sessions++) {
        ok(sessions < 100, 'a hundred sessions were enough');
        const session = await open(client, edge, 'window');
        for (const seq of seqs.filter((each) => !acked.has(each)))
          session.send([record(seq, 'x'.repeat(client.payloadBytes))]);
        await until(() => session.end !== undefined || session.acked.size + acked.size === seqs.length);
        ok(
          session.end === undefined || session.end === ending(client, 'no_room'),
          `it was sent away for ${session.end}`,
        );
        for (const seq of session.acked) acked.add(seq);
        if (session.end === undefined) await session.close();
      }
      const stored = await edge.storedSeqs('window');
      strictEqual([...new Set(stored)].sort((a, b) => a - b).join(), seqs.join());
    }),
};

const takeOver: Conformance = {
  promise: 'the newest session of a device wins',
  needsConnections: true,
  run: (client) =>
    withEdge({}, async (edge) => {
      const older = await open(client, edge, 'twice');
      older.send([record(1)]);
      await untilAcked(older, [1]);
      const newer = await open(client, edge, 'twice');
      await until(() => older.end !== undefined);
      strictEqual(older.end, ending(client, 'taken_over'));
      newer.send([record(2)]);
      await untilAcked(newer, [2]);
      await newer.close();
      strictEqual((await edge.storedSeqs('twice')).join(), '1,2');
    }),
};

const restart: Conformance = {
  promise: 'an edge that stops acks what it took, and says that it restarts',
  needsConnections: true,
  run: (client) =>
    withEdge({}, async (edge) => {
      const session = await open(client, edge, 'stop');
      for (let seq = 1; seq <= 50; seq++) session.send([record(seq)]);
      await untilAcked(session, [1]);
      strictEqual(await edge.process.end(), 0);
      await until(() => session.end !== undefined);
      strictEqual(session.end, ending(client, 'restart'));
      const stored = new Set(await edge.storedSeqs('stop'));
      for (const seq of session.acked) ok(stored.has(seq), `${seq} is acked and not stored`);
    }),
};

const kills: Conformance = {
  promise: 'through kill -9 of the edge, what is sent again until it is acked is stored, and as one record',
  needsConnections: false,
  run: (client) =>
    withEdge({}, async (edge) => {
      const seqs = Array.from({ length: 600 }, (_, index) => index + 1);
      const acked = new Set<number>();
      for (let kill = 1; acked.size < seqs.length; kill++) {
        const session = await open(client, edge, 'killed');
        for (const seq of seqs.filter((each) => !acked.has(each))) session.send([record(seq, `at ${seq}`)]);
        const enough = kill <= 2 ? session.acked.size + 1 : seqs.length - acked.size;
        await until(() => session.acked.size >= enough || session.end !== undefined);
        if (kill <= 2) {
          await edge.process.end('SIGKILL');
          await until(() => session.end !== undefined);
        }
        for (const seq of session.acked) acked.add(seq);
        if (kill <= 2) await edge.process.start();
        else await session.close();
      }
      const stored = (await edge.stored('killed')).filter(({ kind }) => kind === 1);
      const keys = new Map(stored.map(({ seq, timeMs, payload }) => [`${timeMs} ${seq}`, payload]));
      // The table's key is device, time and seq: what is stored twice here is one row there.
      strictEqual(keys.size, seqs.length);
      for (const seq of seqs) strictEqual(keys.get(`${TIME_MS + seq} ${seq}`), `"at ${seq}"`);
    }),
};

const CONFORMANCE: readonly Conformance[] = [errors, tokens, acks, windows, takeOver, restart, kills];

/** Runs the suite over one protocol. */
export async function testIngest(t: Test, client: IngestClient): Promise<void> {
  // Side by side: each has an edge of its own, and waits for it most of the time.
  await Promise.all(
    CONFORMANCE.filter(({ needsConnections }) => client.hasConnections || !needsConnections).map(
      async ({ promise, run }) => {
        await run(client);
        t.pass(promise);
      },
    ),
  );
}
