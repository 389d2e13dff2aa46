/**
 * One device that sends datagrams. It has no connection: it is up once it may send. What no ack has named is sent again after
 * a pause that doubles while nothing is heard; acks that overtake are held back, because a device counts what is acked through.
 *
 * At most 32 records are under way: the edge's acks name seqs within 33, and it knows the last 32 it has stored again.
 */
import type { ConnectionOwner, DeviceIdentity, FleetConnection, RecordRun } from './connection.js';
import { partOf } from './record-messages.js';
import { isNamed, readEdgeDatagram, type EdgeDatagram } from './udp-datagrams.js';
import type { UdpDialer } from './udp-dialer.js';

const MAX_UNACKED = 32;
const FIRST_PAUSE_MS = 1_000;
const LONGEST_PAUSE_MS = 15_000;

export class UdpConnection implements FleetConnection {
  /** Records from the first that is not settled to the last that was sent; undefined: all are settled. */
  #underWay: RecordRun | undefined;
  /** Bit i: the record `firstSeq + i` is settled already. */
  #settled = 0;
  #pauseMs = FIRST_PAUSE_MS;
  #timer: NodeJS.Timeout | undefined;
  #isOver = false;

  constructor(
    private readonly dialer: UdpDialer,
    readonly device: DeviceIdentity,
    private readonly owner: ConnectionOwner,
  ) {
    // The device does not have its connection yet.
    queueMicrotask(() => {
      if (!this.#isOver) this.owner.opened(MAX_UNACKED);
    });
  }

  send(run: RecordRun): void {
    const underWay = this.#underWay;
    this.#underWay = underWay === undefined ? run : partOf(underWay, 0, underWay.count + run.count);
    // A device whose buffer is full has given up its oldest, which is all that goes beyond.
    if (this.#underWay.count > MAX_UNACKED) this.#drop(this.#underWay.count - MAX_UNACKED);
    this.dialer.send(this.device, run);
    if (this.#timer === undefined) this.#wait();
  }

  cut(): void {
    this.#isOver = true;
    clearTimeout(this.#timer);
    this.dialer.forget(this);
  }

  close(): void {
    this.cut();
  }

  /** Reads a datagram that says it is for this device. */
  receive(bytes: Buffer): void {
    const message = readEdgeDatagram(bytes, this.device.id, this.dialer.keyOf(this.device));
    if (message?.type === 'ack') this.#acked(message);
    else if (message?.type === 'error') this.#refused(message.seq, message.code);
  }

  #acked(ack: Extract<EdgeDatagram, { type: 'ack' }>): void {
    const run = this.#underWay;
    if (run === undefined) return;
    let settled = this.#settled;
    for (let index = 0; index < run.count; index++) if (isNamed(ack, run.firstSeq + index)) settled |= 1 << index;
    if (settled !== this.#settled) this.#settle(settled);
  }

  #refused(seq: number, code: string): void {
    const run = this.#underWay;
    if (seq === 0) {
      this.owner.refused(undefined, code);
      return;
    }
    const index = run === undefined ? -1 : seq - run.firstSeq;
    if (!(index >= 0 && index < (run?.count ?? 0)) || ((this.#settled >>> index) & 1) === 1) return;
    this.owner.refused(seq, code);
    if (!this.#isOver) this.#settle(this.#settled | (1 << index));
  }

  /** Something new is settled: what is settled without a gap is told. @param settled the bits from now on */
  #settle(settled: number): void {
    const run = this.#underWay!;
    const count = trailingOnes(settled);
    this.#settled = settled;
    this.#drop(count);
    this.#pauseMs = FIRST_PAUSE_MS;
    clearTimeout(this.#timer);
    this.#timer = undefined;
    if (this.#underWay !== undefined) this.#wait();
    if (count > 0) this.owner.acked(run.firstSeq + count - 1);
  }

  /** Forgets the first records under way. */
  #drop(count: number): void {
    const run = this.#underWay!;
    this.#underWay = count === run.count ? undefined : partOf(run, count, run.count - count);
    // A shift by 32 would be one by 0.
    this.#settled = count < MAX_UNACKED ? (this.#settled >>> count) | 0 : 0;
  }

  #wait(): void {
    // Devices that lost an edge at one moment do not all send again at one moment.
    this.#timer = setTimeout(() => this.#sendAgain(), this.#pauseMs * (1 + Math.random() / 2));
    this.#pauseMs = Math.min(LONGEST_PAUSE_MS, 2 * this.#pauseMs);
  }

  /** Sends what is not settled, in runs without a gap. */
  #sendAgain(): void {
    const run = this.#underWay!;
    for (let from = 0; from < run.count;) {
      let through = from;
      while (through < run.count && ((this.#settled >>> through) & 1) === 0) through++;
      if (through > from) {
        this.dialer.send(this.device, partOf(run, from, through - from));
        this.owner.resent(through - from);
      }
      from = through + 1;
    }
    this.#wait();
  }
}

/** How many of the lowest bits are 1 without a 0 between, 0 to 32. */
function trailingOnes(bits: number): number {
  const lowestZero = ~bits & (bits + 1);
  return lowestZero === 0 ? 32 : 31 - Math.clz32(lowestZero);
}
