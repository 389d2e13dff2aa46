/**
 * A closed loop of devices over UDP: each keeps as many datagrams unacked as the protocol's bitmap spans. One socket serves all
 * devices; acks name theirs. What is not acked in time is sent again, as a device would.
 */
import { createHmac } from 'node:crypto';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { Latencies } from './latencies.js';
import type { LoadOptions } from './load-options.js';
import { makePayload } from './record-block.js';

const ID_AT = 5;
const HMAC_BYTES = 16;
const RECORD_HEADER_BYTES = 24;
const MAX_DATAGRAM_BYTES = 1_500;
/** Seqs that a device may have under way (DESIGN: UDP). */
const SPAN = 33;
const RESEND_MS = 100;
const DRAIN_DEADLINE_MS = 60_000;
const SOCKET_BUFFER_BYTES = 8 * 1024 * 1024;

interface UdpDevice {
  readonly id: string;
  /** The highest seq below which all are acked. */
  acked: number;
  sent: number;
  /** When its newest datagram was sent, or its oldest again. */
  sentMs: number;
  readonly datagram: Buffer;
}

export class UdpLoad {
  acked = 0;
  readonly #socket = createSocket({ type: 'udp4', recvBufferSize: SOCKET_BUFFER_BYTES });
  readonly #devices = new Map<string, UdpDevice>();
  readonly #latencies = new Latencies();
  readonly #recordsADatagram: number;
  readonly #recordBytes: number;
  #sending = false;
  #resends = 0;
  #timer: NodeJS.Timeout | undefined;

  constructor(private readonly options: LoadOptions) {
    this.#recordBytes = RECORD_HEADER_BYTES + options.payloadBytes;
    const idBytes = `bench-${options.connections}`.length;
    this.#recordsADatagram = Math.floor((MAX_DATAGRAM_BYTES - ID_AT - idBytes - HMAC_BYTES) / this.#recordBytes);
  }

  get sent(): number {
    return [...this.#devices.values()].reduce((sum, { sent }) => sum + sent, 0);
  }

  async connect(): Promise<void> {
    this.#socket.connect(this.options.port, this.options.host);
    await once(this.#socket, 'connect');
    this.#socket.on('message', (bytes) => this.#receive(bytes));
    for (let index = 0; index < this.options.connections; index++) {
      const id = `bench-${index}`;
      this.#devices.set(id, { id, acked: 0, sent: 0, sentMs: 0, datagram: this.#newDatagram(id) });
    }
  }

  start(): void {
    this.#sending = true;
    for (const device of this.#devices.values()) this.#fill(device);
    this.#timer = setInterval(() => this.#resend(), RESEND_MS);
  }

  stop(): Promise<void> {
    this.#sending = false;
    return Promise.resolve();
  }

  reset(): void {
    this.#latencies.clear();
    this.#resends = 0;
  }

  report(): Record<string, number> {
    const resends = { resentDatagrams: this.#resends };
    return { ackP50Ms: this.#latencies.percentile(0.5), ackP99Ms: this.#latencies.percentile(0.99), ...resends };
  }

  async drained(): Promise<void> {
    const until = performance.now() + DRAIN_DEADLINE_MS;
    while (this.acked < this.sent) {
      if (performance.now() > until) throw new Error(`${this.sent - this.acked} records were never acked`);
      await sleep(1);
    }
  }

  close(): void {
    clearInterval(this.#timer);
    this.#socket.close();
  }

  /** Sends as many datagrams as may be under way. */
  #fill(device: UdpDevice): void {
    while (this.#sending && device.sent - device.acked + this.#recordsADatagram <= SPAN) {
      this.#send(device, device.sent + 1);
      device.sent += this.#recordsADatagram;
    }
  }

  #send(device: UdpDevice, firstSeq: number): void {
    const { datagram, id } = device;
    const now = Date.now();
    let at = ID_AT + id.length;
    for (let i = 0; i < this.#recordsADatagram; i++, at += this.#recordBytes) {
      datagram.writeDoubleLE(firstSeq + i, at + 8);
      // The same at a resend: a seq and its time belong together.
      datagram.writeDoubleLE(firstSeq + i, at + 16);
    }
    createHmac('sha256', '').update(datagram.subarray(0, at)).digest().copy(datagram, at, 0, HMAC_BYTES);
    // The kernel has copied it when send returns only where nothing waits; so it is given a copy.
    this.#socket.send(Buffer.from(datagram));
    device.sentMs = now;
  }

  #resend(): void {
    const dueMs = Date.now() - RESEND_MS;
    for (const device of this.#devices.values()) {
      if (device.sent === device.acked || device.sentMs > dueMs) continue;
      this.#resends++;
      this.#send(device, device.acked + 1);
    }
  }

  #receive(bytes: Buffer): void {
    if (bytes.toString('latin1', 0, 4) !== 'HFA1') throw new Error(`the edge says ${bytes.toString('latin1')}`);
    const bodyAt = ID_AT + bytes[4]!;
    const device = this.#devices.get(bytes.toString('latin1', ID_AT, bodyAt))!;
    const [first, last] = [bytes.readDoubleLE(bodyAt), bytes.readDoubleLE(bodyAt + 8)];
    if (first > device.acked + 1 || last <= device.acked) return;
    const count = Math.min(last, device.sent) - device.acked;
    this.#latencies.add(Date.now() - device.sentMs, count);
    device.acked += count;
    this.acked += count;
    this.#fill(device);
  }

  #newDatagram(id: string): Buffer {
    const payload = makePayload(this.options.payloadBytes);
    const datagram = Buffer.alloc(ID_AT + id.length + this.#recordsADatagram * this.#recordBytes + HMAC_BYTES);
    datagram.write('HFU1', 0, 'latin1');
    datagram[4] = id.length;
    datagram.write(id, ID_AT, 'latin1');
    let at = ID_AT + id.length;
    for (let i = 0; i < this.#recordsADatagram; i++, at += this.#recordBytes) {
      datagram.writeUInt32LE(this.#recordBytes - 4, at);
      datagram[at + 4] = 1;
      payload.copy(datagram, at + RECORD_HEADER_BYTES);
    }
    return datagram;
  }
}
