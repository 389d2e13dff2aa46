/**
 * One simulated device, behaving as firmware does: it makes a record an interval, keeps each until the edge has acked it,
 * and sends what is not acked again after a reconnect, in order and in as few messages as the window allows. What it keeps is
 * two numbers: its records are consecutive, and their times follow from their seqs.
 *
 *        acked, given up │ first … sent │ sent + 1 … last
 *                        └─ under way ──┴─ to be sent ──┘
 *
 * A full buffer gives up its oldest record for the newest. A connection that ends is followed by another after a wait with full
 * jitter, plus what the edge asked for; one on which nothing comes is cut. A network that comes back begins the waits anew,
 * as a link that comes up does on a device.
 */
import { Backoff } from '../../shared/device/backoff.js';
import { HoldfastError } from '../../shared/errors.js';
import { AckClock } from './ack-clock.js';
import type { ConnectionEnd, ConnectionOwner, DeviceIdentity, Dialer, FleetConnection } from './connection.js';
import type { Counters } from './counters.js';
import type { Histogram } from './histogram.js';
import { DeviceLedger } from './ledger.js';

/** Bounds of the first wait before a reconnect, and of the longest. */
const MIN_BACKOFF_MS = 1_000;
const MAX_BACKOFF_MS = 30_000;
/** Until the edge has said hello. */
const CONNECT_TIMEOUT_MS = 10_000;
/** Without an ack while records are under way. */
const ACK_TIMEOUT_MS = 30_000;

/** What the devices of a process share. */
export interface DeviceSurroundings {
  readonly dialer: Dialer;
  readonly counters: Counters;
  readonly latencies: Histogram;
  readonly intervalMs: number;
  /** Records that a device keeps. */
  readonly bufferRecords: number;
  /** The edge will never let this device in, or acks what was never sent: the fleet cannot go on. */
  readonly onFailure: (error: HoldfastError) => void;
}

export class FleetDevice implements ConnectionOwner {
  readonly ledger = new DeviceLedger();
  readonly #backoff = new Backoff(MIN_BACKOFF_MS, MAX_BACKOFF_MS);
  readonly #clock: AckClock;
  #first = 1;
  #sent = 0;
  #last = 0;
  /** The last seq that was ever sent, on any connection. */
  #everSent = 0;
  /** The last seq when the network came back. */
  #backlogThrough = 0;
  #connection: FleetConnection | undefined;
  #maxUnacked = 0;
  /** The edge complained about one of several records without saying which: they go one by one from then on. */
  #singly = false;
  #wanted = false;
  #connections = 0;
  #retry: NodeJS.Timeout | undefined;
  /** performance.now() of the last sign of progress on this connection. */
  #heardMs = 0;

  /** @param firstTimeMs when its first record is due, ms since 1970 */
  constructor(
    readonly identity: DeviceIdentity,
    private readonly firstTimeMs: number,
    private readonly around: DeviceSurroundings,
  ) {
    this.#clock = new AckClock(around.latencies);
  }

  /** Wants to be connected from now on. @param atOnce false: after a first wait, as everybody else does */
  connect(atOnce: boolean): void {
    this.#wanted = true;
    this.#backoff.reset();
    this.#backlogThrough = this.#last;
    this.around.counters.backlog += this.#unacked;
    if (atOnce) this.#dial();
    else this.#dialIn(this.#backoff.next());
  }

  /** Loses its network: what is under way is lost, and no other connection is tried. */
  disconnect(): void {
    this.#hangUp((connection) => connection.cut());
  }

  /** Is switched off. */
  close(): void {
    this.#hangUp((connection) => connection.close());
  }

  /** Makes the next record; it travels with the next flush(). */
  produce(): void {
    const { counters, bufferRecords } = this.around;
    this.#last++;
    counters.made++;
    counters.buffered++;
    if (this.#unacked > bufferRecords) this.#giveUpOldest();
  }

  /** Sends what it can. */
  flush(): void {
    if (this.#maxUnacked > 0) this.#pump();
  }

  /** Cuts a connection that has fallen silent. @param nowMs performance.now() */
  check(nowMs: number): void {
    if (this.#connection === undefined) return;
    const isOpen = this.#maxUnacked > 0;
    if (isOpen && this.#sent < this.#first) return;
    const silentMs = nowMs - this.#heardMs;
    if (silentMs < (isOpen ? ACK_TIMEOUT_MS : CONNECT_TIMEOUT_MS)) return;
    this.#connection.cut();
    this.ended({ reason: `silent for ${Math.round(silentMs)} ms`, retryAfterMs: undefined, isRefused: false });
  }

  opened(maxUnacked: number): void {
    const { counters } = this.around;
    counters.up++;
    if (this.#connections++ > 0) counters.reconnects++;
    this.#maxUnacked = this.#singly ? 1 : maxUnacked;
    this.#sent = this.#first - 1;
    this.#clock.reset(this.#sent);
    this.#heardMs = performance.now();
    this.#pump();
  }

  acked(seq: number): void {
    if (seq > this.#sent) {
      this.around.onFailure(this.#wrongAck(seq));
      return;
    }
    this.#heardMs = performance.now();
    this.#clock.acked(seq, this.#heardMs);
    this.#backoff.reset();
    if (seq < this.#first) return;
    const { counters } = this.around;
    counters.acked += seq - this.#first + 1 - this.ledger.exceptions(this.#first, seq);
    this.ledger.ackedThrough = seq;
    this.#settleThrough(seq);
    this.#pump();
  }

  resent(count: number): void {
    const { counters } = this.around;
    counters.sent += count;
    counters.resent += count;
  }

  refused(seq: number | undefined, problem: string): void {
    const refused = seq ?? (this.#sent === this.#first ? this.#first : undefined);
    if (refused === undefined) {
      // The next ack passes over whichever it was: all of them are sent again, one by one.
      this.#singly = true;
      this.#connection?.cut();
      this.ended({ reason: problem, retryAfterMs: undefined, isRefused: false });
      return;
    }
    if (refused < this.#first || refused > this.#sent) return;
    this.around.counters.refused++;
    this.ledger.except(refused);
    if (refused !== this.#first) return;
    this.#settleThrough(refused);
    this.#pump();
  }

  ended({ reason, retryAfterMs = 0, isRefused }: ConnectionEnd): void {
    this.#lost();
    const { counters, onFailure } = this.around;
    if (retryAfterMs > 0) counters.sentAway++;
    else counters.broken++;
    if (isRefused) {
      const message = `the edge does not let device ${this.identity.id} in: ${reason}`;
      onFailure(new HoldfastError('device_refused', message, false));
    }
    if (this.#wanted) this.#dialIn(retryAfterMs + this.#backoff.next());
  }

  get #unacked(): number {
    return this.#last - this.#first + 1;
  }

  #pump(): void {
    const room = this.#maxUnacked - Math.max(0, this.#sent - this.#first + 1);
    const count = Math.min(this.#last - this.#sent, room);
    if (count <= 0 || this.#connection === undefined) return;
    const { intervalMs, counters } = this.around;
    const firstSeq = this.#sent + 1;
    const nowMs = performance.now();
    // What was quiet until now starts its time to the ack here.
    if (this.#sent < this.#first) this.#heardMs = nowMs;
    this.#sent += count;
    counters.sent += count;
    counters.resent += Math.max(0, Math.min(this.#everSent, this.#sent) - firstSeq + 1);
    this.#everSent = Math.max(this.#everSent, this.#sent);
    this.#clock.sent(this.#sent, nowMs);
    this.#connection.send({
      firstSeq,
      count,
      firstTimeMs: this.firstTimeMs + (firstSeq - 1) * intervalMs,
      intervalMs,
    });
  }

  #settleThrough(seq: number): void {
    const { counters } = this.around;
    counters.buffered -= seq - this.#first + 1;
    counters.backlog -= Math.max(0, Math.min(seq, this.#backlogThrough) - this.#first + 1);
    this.#first = seq + 1;
    if (this.#sent < seq) this.#sent = seq;
  }

  #giveUpOldest(): void {
    this.around.counters.dropped++;
    this.ledger.except(this.#first);
    this.#settleThrough(this.#first);
  }

  #dialIn(waitMs: number): void {
    clearTimeout(this.#retry);
    this.#retry = setTimeout(() => this.#dial(), waitMs);
  }

  #dial(): void {
    this.#heardMs = performance.now();
    this.#connection = this.around.dialer.dial(this.identity, this);
  }

  #hangUp(end: (connection: FleetConnection) => void): void {
    this.#wanted = false;
    clearTimeout(this.#retry);
    if (this.#connection === undefined) return;
    end(this.#connection);
    this.#lost();
  }

  #lost(): void {
    if (this.#maxUnacked > 0) this.around.counters.up--;
    this.#connection = undefined;
    this.#maxUnacked = 0;
  }

  #wrongAck(seq: number): HoldfastError {
    const message = `device ${this.identity.id}: an ack of ${seq}, where ${this.#sent} was sent last`;
    return new HoldfastError('bad_frame', message, false);
  }
}
