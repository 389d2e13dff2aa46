/**
 * What devices sent and what was acked to them, and the checker of the promise:
 *
 *   lost       an acked record that is not in the table
 *   doubled    a record that is there more than once
 *   unsent     a record that is there and was never sent, or holds other data than was sent
 *   disordered a device's records whose first places in the router's queue are not in the order of their seq
 */
import { Kind, RecordCursor } from '../../shared/batch.js';
import { Session } from '../../shared/database.js';
import { START } from '../../shared/position.js';
import { QueueReader } from '../../shared/queue/reader.js';

export interface Findings {
  readonly lost: readonly string[];
  readonly doubled: readonly string[];
  readonly unsent: readonly string[];
  readonly disordered: readonly string[];
}

interface DeviceHistory {
  sent: number;
  acked: number;
  readonly refused: Set<number>;
}

/** The data of the record with this seq: what was sent can be told from what was not. */
export function dataOf(deviceId: string, seq: number): { device: string; n: number; filler: string } {
  return { device: deviceId, n: seq, filler: 'x'.repeat(seq % 90) };
}

const PEEK_BYTES = 4 * 1024 * 1024;
/** Findings listed a kind; one is enough to fail. */
const LISTED = 20;

export class History {
  readonly #devices = new Map<string, DeviceHistory>();

  sent(deviceId: string, seq: number): void {
    this.#of(deviceId).sent = seq;
  }

  /** Acks are cumulative. */
  acked(deviceId: string, seq: number): void {
    const device = this.#of(deviceId);
    device.acked = Math.max(device.acked, seq);
  }

  refused(deviceId: string, seq: number): void {
    this.#of(deviceId).refused.add(seq);
  }

  get sentRecords(): number {
    return [...this.#devices.values()].reduce((sum, { sent }) => sum + sent, 0);
  }

  get ackedRecords(): number {
    return [...this.#devices.values()].reduce((sum, { acked, refused }) => sum + acked - refused.size, 0);
  }

  /** Compares the history with the table and with a router's queue that has kept everything. */
  async check(databaseUrl: string, routerQueue?: string): Promise<Findings> {
    const rows = await readRows(databaseUrl);
    const lost: string[] = [];
    const doubled: string[] = [];
    const unsent: string[] = [];
    for (const [deviceId, device] of this.#devices) {
      const found = rows.get(deviceId) ?? new Map<number, number>();
      for (let seq = 1; seq <= device.acked; seq++) {
        if (!device.refused.has(seq) && !found.has(seq)) lost.push(`${deviceId} ${seq}`);
      }
      for (const [seq, count] of found) {
        if (count > 1) doubled.push(`${deviceId} ${seq} is there ${count} times`);
        if (seq > device.sent || seq < 1 || device.refused.has(seq)) unsent.push(`${deviceId} ${seq}`);
      }
    }
    for (const deviceId of rows.keys()) if (!this.#devices.has(deviceId)) unsent.push(`${deviceId}, a device unknown`);
    unsent.push(...(await findChanged(databaseUrl)));
    const disordered = routerQueue === undefined ? [] : await findDisorder(routerQueue);
    const list = (found: readonly string[]): readonly string[] => found.slice(0, LISTED);
    return { lost: list(lost), doubled: list(doubled), unsent: list(unsent), disordered: list(disordered) };
  }

  #of(deviceId: string): DeviceHistory {
    const known = this.#devices.get(deviceId);
    if (known !== undefined) return known;
    const device = { sent: 0, acked: 0, refused: new Set<number>() };
    this.#devices.set(deviceId, device);
    return device;
  }
}

/** device → seq → how often it is there. */
async function readRows(databaseUrl: string): Promise<Map<string, Map<number, number>>> {
  const session = await Session.open(databaseUrl, 'history');
  try {
    const text = 'select device_id, array_agg(seq::float8) as seqs from telemetry group by device_id';
    const { rows } = await session.client.query<{ device_id: string; seqs: number[] }>(text);
    const counted = rows.map(({ device_id, seqs }): [string, Map<number, number>] => {
      const counts = new Map<number, number>();
      for (const seq of seqs) counts.set(seq, (counts.get(seq) ?? 0) + 1);
      return [device_id, counts];
    });
    return new Map(counted);
  } finally {
    await session.close();
  }
}

/** Rows whose data is not what dataOf says of their device and seq. */
async function findChanged(databaseUrl: string): Promise<string[]> {
  const session = await Session.open(databaseUrl, 'history');
  try {
    const { rows } = await session.client.query<{ device_id: string; seq: string }>(
      `select device_id, seq from telemetry
       where data is distinct from jsonb_build_object('device', device_id, 'n', seq, 'filler', repeat('x', (seq % 90)::int))
       limit ${LISTED}`,
    );
    return rows.map(({ device_id, seq }) => `${device_id} ${seq} has other data`);
  } finally {
    await session.close();
  }
}

/** Walks a queue in position order: a record that appears for the first time must have a greater seq than those before. */
async function findDisorder(queuePath: string): Promise<string[]> {
  const reader = QueueReader.open(queuePath);
  const disordered: string[] = [];
  const last = new Map<string, number>();
  const seen = new Map<string, Set<number>>();
  let after = START;
  for (;;) {
    const { batches, through } = reader.peek(after, PEEK_BYTES);
    if (batches.length === 0) break;
    after = through;
    for (const batch of batches) {
      const cursor = new RecordCursor(batch);
      while (cursor.next()) {
        if (cursor.kind === Kind.telemetry) note(cursor.deviceId, cursor.seq);
      }
    }
  }
  await reader.close();
  return disordered;

  function note(deviceId: string, seq: number): void {
    const seqs = seen.get(deviceId) ?? new Set<number>();
    seen.set(deviceId, seqs);
    if (seqs.has(seq)) return;
    seqs.add(seq);
    const before = last.get(deviceId) ?? 0;
    if (seq < before) disordered.push(`${deviceId} ${seq} after ${before}`);
    last.set(deviceId, Math.max(seq, before));
  }
}
