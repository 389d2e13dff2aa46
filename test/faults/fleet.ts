/** Devices that send through an edge and write into a history what they sent and what they were told. */
import { setTimeout as sleep } from 'node:timers/promises';
import { Device } from '../../shared/device.js';
import { History } from './history/history.js';
import { dataOf, reportOf } from './history/payload.js';

export interface FleetOptions {
  /** What ids begin with; default `fleet`. */
  readonly prefix?: string;
  /** Every so many records one is a report; 0, the default: all are telemetry. */
  readonly reportEvery?: number;
  /** Records that each device sends in a turn of during(); default 50. */
  readonly turnRecords?: number;
  /** The clock of a device, ms since 1970; absent: the machine's. */
  readonly timeMs?: (device: number, seq: number) => number;
  /** What a device shows to the edge. */
  readonly token?: (deviceId: string) => string;
  /** The bound of the wait before a reconnect, default 500. */
  readonly maxBackoffMs?: number;
}

/** Of so many records, one is timed for onLatency. */
const TIMED_EVERY = 400;
/** Above this a device sends nothing new in during(). */
const UNACKED_RECORDS = 1_000;
const TURN_MS = 5;

export class Fleet {
  readonly history = new History();
  /** Every close of a connection, as `code reason`. */
  readonly closes: string[] = [];
  readonly devices: readonly Device[];
  /** What during() sends in a second, in all; undefined: as fast as devices may. */
  recordsPerSecond: number | undefined;
  /** Is told, for some of the records, the ms from sending one to its ack. */
  onLatency: ((ms: number) => void) | undefined;
  /** Records under way that are timed, by device: at most one each. */
  readonly #timed = new Map<number, { readonly seq: number; readonly sentMs: number }>();
  #sentRecords = 0;
  #firstDevice = 0;

  /** Devices that speak JSON and binary in turn; they are connecting. */
  constructor(
    edgeUrl: string,
    count: number,
    private readonly options: FleetOptions = {},
  ) {
    const { prefix = 'fleet', maxBackoffMs = 500, token } = options;
    this.devices = Array.from({ length: count }, (_, index) => {
      const protocol = index % 2 === 0 ? 'json' : 'binary';
      const id = `${prefix}-${index + 1}`;
      const device = new Device({
        url: edgeUrl,
        id,
        token: token?.(id),
        protocol,
        minBackoffMs: 50,
        maxBackoffMs,
      });
      device.on('ack', (seq) => {
        this.history.acked(device.id, seq);
        this.#timeAck(index, seq);
      });
      device.on('refused', (seq) => this.history.refused(device.id, seq));
      device.on('close', (code, reason) => this.closes.push(`${code} ${reason}`));
      device.connect();
      return device;
    });
  }

  /** Every device sends so many records more. */
  send(count: number): void {
    for (let sent = 0; sent < count; sent++) this.devices.forEach((device, index) => this.#sendOne(device, index));
  }

  /** Sends turn after turn until `work` is over and `records` were sent in all. */
  async during<T>(work: Promise<T>, records = 0): Promise<T> {
    const working = { over: false };
    const done = work.finally(() => (working.over = true));
    done.catch(() => undefined);
    let dueRecords = 0;
    let lastMs = Date.now();
    while (!working.over || this.history.sentRecords < records) {
      const nowMs = Date.now();
      // What could not be sent in time is not made up for: devices that wait for acks are slower, that is all.
      const moreRecords = ((this.recordsPerSecond ?? 0) * (nowMs - lastMs)) / 1_000;
      dueRecords = this.recordsPerSecond === undefined ? Infinity : Math.min(1, dueRecords) + moreRecords;
      lastMs = nowMs;
      dueRecords -= this.#sendTurn(dueRecords);
      await sleep(TURN_MS);
    }
    return done;
  }

  /** Resolves once everything that was sent is acked or refused. */
  async flushed(): Promise<void> {
    await Promise.all(this.devices.map((device) => device.flushed()));
  }

  /** Closes the devices; the history stays until it is closed. */
  async close(): Promise<void> {
    await Promise.all(this.devices.map((device) => device.close()));
  }

  /** All devices send alike; where there are fewer records than devices, the next turn begins with those that had none. */
  #sendTurn(dueRecords: number): number {
    const { turnRecords = 50 } = this.options;
    const count = this.devices.length;
    const share = Math.min(turnRecords, Math.ceil(dueRecords / count));
    let sent = 0;
    for (let turn = 0; turn < count && sent + 1 <= dueRecords; turn++) {
      sent += this.#sendSome(this.#firstDevice, Math.min(share, dueRecords - sent));
      this.#firstDevice = (this.#firstDevice + 1) % count;
    }
    return sent;
  }

  /** @returns how many the device has sent, of at most `most` */
  #sendSome(index: number, most: number): number {
    const device = this.devices[index]!;
    let sent = 0;
    while (sent + 1 <= most && device.unacked < UNACKED_RECORDS) {
      this.#sendOne(device, index);
      sent++;
    }
    return sent;
  }

  #sendOne(device: Device, index: number): void {
    const { reportEvery = 0, timeMs } = this.options;
    const seq = device.lastSeq + 1;
    const kind = reportEvery > 0 && seq % reportEvery === 0 ? 'report' : 'telemetry';
    device.send(kind === 'report' ? reportOf(seq) : dataOf(device.id, seq), {
      kind,
      time: timeMs?.(index, seq),
    });
    this.history.sent(device.id, seq, kind);
    this.#sentRecords++;
    if (this.onLatency === undefined || this.#sentRecords % TIMED_EVERY !== 0 || this.#timed.has(index)) return;
    this.#timed.set(index, { seq, sentMs: performance.now() });
  }

  #timeAck(index: number, seq: number): void {
    const timed = this.#timed.get(index);
    if (timed === undefined || seq < timed.seq) return;
    this.#timed.delete(index);
    this.onLatency?.(performance.now() - timed.sentMs);
  }
}
