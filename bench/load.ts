/**
 * The load generator, a process of its own. It runs one of two loops:
 *
 *   closed   every connection keeps `inFlight` records unacked: on an ack of n records it sends n more in one write
 *   open     records fall due on a schedule, `recordsPerSecond` in bursts of one a millisecond, round robin over the
 *            connections (`recordsAWrite` to each), whether or not acks come. Latency counts from when the load came to send a record, also where the
 *            window then kept it back, so that a server that stalls delays none of the measurements that it should spoil (no
 *            coordinated omission). From when the record was due is told beside it: that has the load's own lateness in it
 *
 * It tells its parent: connected · measuring (the warm-up is over) · measured {numbers of the window} · drained (every
 * record sent was acked). Latencies are those of records acked within the window.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { Latencies } from './latencies.js';
import type { LoadConnection } from './load-connection.js';
import { leaveParent, runAsChild, tell } from './messages.js';
import { readLoadOptions, type LoadOptions } from './load-options.js';
import { connectorFor } from './protocols.js';
import { Samples, percentile } from './statistics.js';
import { dueOf, numberOf } from './round-robin.js';
import { startTicker, TICK_MS } from './ticker.js';
import { UdpLoad } from './udp-load.js';

const DRAIN_DEADLINE_MS = 60_000;
/** Connections that are being made at the same time: under the backlog of any listening socket. */
const CONNECTING_AT_ONCE = 50;
/** Records that a connection of an open loop may have unacked, under the edge's window; what is due then waits its turn. */
const MAX_UNACKED = 2_000;

/** What both loops share: the connections and what they have been acked. */
abstract class Load {
  acked = 0;
  protected readonly connections: LoadConnection[] = [];

  constructor(protected readonly options: LoadOptions) {}

  async connect(): Promise<void> {
    const { connections } = this.options;
    const connectionOf = connectorFor(this.options, (connection, count) => {
      this.acked += count;
      this.onAcked(connection, count);
    });
    while (this.connections.length < connections) {
      const count = Math.min(CONNECTING_AT_ONCE, connections - this.connections.length);
      const some = Array.from({ length: count }, (_, i) => connectionOf(this.connections.length + i));
      await Promise.all(some.map((connection) => connection.whenReady()));
      this.connections.push(...some);
    }
  }

  get sent(): number {
    return this.connections.reduce((sum, connection) => sum + connection.sent, 0);
  }

  /** Resolves when everything that was sent is acked. */
  async drained(): Promise<void> {
    const until = performance.now() + DRAIN_DEADLINE_MS;
    while (this.acked < this.sent) {
      if (performance.now() > until) throw new Error(`${this.sent - this.acked} records were never acked`);
      await sleep(1);
    }
  }

  close(): void {
    for (const connection of this.connections) connection.close();
  }

  abstract start(): void;
  abstract stop(): Promise<void>;
  /** From here on it is measured. */
  abstract reset(): void;
  /** Numbers of the window beside the count of acks. */
  abstract report(): Record<string, number>;
  protected abstract onAcked(connection: LoadConnection, count: number): void;
}

/** What one write of a connection sent, until it is acked. */
interface Written {
  readonly through: number;
  readonly sentMs: number;
}

class ClosedLoad extends Load {
  #sending = false;
  readonly #latencies = new Latencies();
  readonly #written: Written[][] = [];
  /** The most records a connection sends; Infinity where time is the end. */
  readonly #quota: number;

  constructor(options: LoadOptions) {
    super(options);
    this.#quota = options.records === 0 ? Number.POSITIVE_INFINITY : Math.ceil(options.records / options.connections);
  }

  override start(): void {
    this.#sending = true;
    for (const connection of this.connections) this.#send(connection, Math.min(this.options.inFlight, this.#quota));
  }

  override async stop(): Promise<void> {
    this.#sending = false;
    return Promise.resolve();
  }

  override reset(): void {
    this.#latencies.clear();
  }

  override report(): Record<string, number> {
    return { ackP50Ms: this.#latencies.percentile(0.5), ackP99Ms: this.#latencies.percentile(0.99) };
  }

  protected override onAcked(connection: LoadConnection, count: number): void {
    this.#measure(connection, connection.acked - count);
    if (this.#sending) this.#send(connection, Math.min(count, this.#quota - connection.sent));
  }

  #send(connection: LoadConnection, count: number): void {
    connection.send(count);
    (this.#written[connection.index] ??= []).push({ through: connection.sent, sentMs: performance.now() });
  }

  #measure(connection: LoadConnection, ackedBefore: number): void {
    const written = this.#written[connection.index]!;
    const nowMs = performance.now();
    let from = ackedBefore;
    while (from < connection.acked) {
      const { through, sentMs } = written[0]!;
      const to = Math.min(through, connection.acked);
      this.#latencies.add(nowMs - sentMs, to - from);
      if (to === through) written.shift();
      from = to;
    }
  }
}

class OpenLoad extends Load {
  readonly #recordsPerTick: number;
  #ackMs: Samples;
  #dueToAckMs: Samples;
  #lateMs: Samples;
  /** When the load came to each tick. */
  readonly #cameMs: Float64Array;
  #startedMs = 0;
  #ticks = 0;
  #stopTicker: () => Promise<unknown> = () => Promise.resolve();

  constructor(options: LoadOptions) {
    super(options);
    this.#recordsPerTick = (options.recordsPerSecond * TICK_MS) / 1000;
    this.#ackMs = this.#newSamples();
    this.#dueToAckMs = this.#newSamples();
    this.#lateMs = this.#newSamples();
    this.#cameMs = new Float64Array(this.#mostSeconds * (1000 / TICK_MS));
  }

  override start(): void {
    this.#startedMs = performance.now();
    this.#stopTicker = startTicker(() => this.#tick());
  }

  override async stop(): Promise<void> {
    await this.#stopTicker();
    this.#stopTicker = () => Promise.resolve();
  }

  override reset(): void {
    this.#ackMs = this.#newSamples();
    this.#dueToAckMs = this.#newSamples();
    this.#lateMs = this.#newSamples();
  }

  override report(): Record<string, number> {
    const ack = this.#ackMs.sorted();
    const dueToAck = this.#dueToAckMs.sorted();
    const late = this.#lateMs.sorted();
    return {
      ackP50Ms: percentile(ack, 0.5),
      ackP99Ms: percentile(ack, 0.99),
      ackMaxMs: percentile(ack, 1),
      dueToAckP50Ms: percentile(dueToAck, 0.5),
      dueToAckP99Ms: percentile(dueToAck, 0.99),
      lateP50Ms: percentile(late, 0.5),
      lateP99Ms: percentile(late, 0.99),
    };
  }

  protected override onAcked(connection: LoadConnection, count: number): void {
    const now = performance.now();
    for (let seq = connection.acked - count; seq < connection.acked; seq++) {
      const number = numberOf(seq, connection.index, this.connections.length, this.options.recordsAWrite);
      const tick = Math.floor(number / this.#recordsPerTick);
      this.#ackMs.add(now - this.#cameMs[tick]!);
      this.#dueToAckMs.add(now - this.#dueMs(tick));
    }
  }

  /** That it runs for, until the last ack. */
  get #mostSeconds(): number {
    const { warmupSeconds, seconds } = this.options;
    return Math.ceil(warmupSeconds + seconds + DRAIN_DEADLINE_MS / 1000);
  }

  #newSamples(): Samples {
    return new Samples(Math.ceil(this.options.recordsPerSecond * this.#mostSeconds));
  }

  #dueMs(tick: number): number {
    return this.#startedMs + tick * TICK_MS;
  }

  #tick(): void {
    const now = performance.now();
    const due = Math.floor((now - this.#startedMs) / TICK_MS);
    if (due < this.#ticks) return;
    for (let tick = this.#ticks; tick <= due; tick++) {
      this.#cameMs[tick] = now;
      this.#lateMs.add(now - this.#dueMs(tick));
    }
    this.#ticks = due + 1;
    this.#recordsSentUntil(this.#ticks);
  }

  #recordsSentUntil(ticks: number): void {
    const total = Math.floor(ticks * this.#recordsPerTick);
    const { length } = this.connections;
    for (const connection of this.connections) {
      const due = dueOf(total, connection.index, length, this.options.recordsAWrite) - connection.sent;
      const count = Math.min(due, MAX_UNACKED - (connection.sent - connection.acked));
      if (count > 0) connection.send(count);
    }
  }
}

function loadFor(options: LoadOptions): Load | UdpLoad {
  if (options.protocol === 'udp') return new UdpLoad(options);
  return options.recordsPerSecond > 0 ? new OpenLoad(options) : new ClosedLoad(options);
}

async function run(): Promise<void> {
  const options = readLoadOptions(process.argv[2]);
  const load = loadFor(options);
  await load.connect();
  tell('connected');
  load.start();
  await sleep(options.warmupSeconds * 1000);
  load.reset();
  const before = { acked: load.acked, cpu: process.cpuUsage(), ms: performance.now() };
  tell('measuring');
  if (options.records > 0) await load.drained();
  else await sleep(options.seconds * 1000);
  const cpu = process.cpuUsage(before.cpu);
  tell('measured', {
    records: load.acked - before.acked,
    seconds: (performance.now() - before.ms) / 1000,
    cpuSeconds: (cpu.user + cpu.system) / 1e6,
    ...load.report(),
  });
  await load.stop();
  await load.drained();
  tell('drained', { sent: load.sent, acked: load.acked });
  load.close();
  leaveParent();
}

runAsChild(run);
