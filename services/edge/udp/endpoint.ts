/**
 * Datagrams of devices (datagram.ts), for those too small for a connection. Their records enter by the ingest and are acked
 * by datagram after the commit that holds them.
 *
 * Who cannot show an HMAC of the device's token hears nothing, whatever he sends; who can hears no more bytes than he sent,
 * so that a forged source address gains nobody anything. A datagram that is captured and sent again stores nothing twice: its
 * records carry seq and time, with which the table's key finds them, until retention has dropped the day that they were in.
 *
 * Datagrams are read and answered many at once (socket.ts). A long burst waits in the kernel's buffer, which is asked for
 * large (the kernel gives no more than net.core.rmem_max) and drops what does not fit: that is counted, is not acked, and
 * comes again.
 */
import type { Address } from '../../../shared/config.js';
import { HoldfastError, messageOf } from '../../../shared/errors.js';
import type { Part } from '../../../shared/lifecycle.js';
import { deviceToken } from '../../../shared/token.js';
import type { BinaryLimits } from '../binary-frames.js';
import type { Ingest } from '../ingest.js';
import type { EdgeMetrics } from '../metrics.js';
import { TurnClock } from '../turn-clock.js';
import { isGenuine, MAX_ANSWER_BYTES, MAX_DATAGRAM_BYTES, readDatagram } from './datagram.js';
import { UdpDevice, type Outlet } from './device.js';
import { UdpDevices } from './devices.js';
import type { Refusal, UdpMetrics } from './metrics.js';
import { createDatagramSocket, portOf, type Datagrams, type DatagramSocket, type Source } from './socket.js';

export interface UdpOptions extends BinaryLimits {
  readonly deviceSecret: string | undefined;
  readonly udpDevices: number;
}

const SOCKET = {
  receiveBufferBytes: 8 * 1024 * 1024,
  receivedBytes: MAX_DATAGRAM_BYTES,
  sentBytes: MAX_ANSWER_BYTES,
} as const;

export class UdpEndpoint implements Part {
  readonly name = 'UDP endpoint';
  readonly #clock = new TurnClock();
  readonly #devices: UdpDevices;
  readonly #outlet: Outlet;
  #socket: DatagramSocket | undefined;
  #stopping = false;
  #settled: (() => void) | undefined;

  constructor(
    private readonly address: Address,
    private readonly options: UdpOptions,
    private readonly ingest: Ingest,
    edgeMetrics: EdgeMetrics,
    private readonly metrics: UdpMetrics,
    private readonly onFailure: (error: unknown) => void,
  ) {
    this.#devices = new UdpDevices(options.udpDevices);
    this.#outlet = {
      send: (datagramType, bytes, to) => {
        this.metrics.sent.inc({ type: datagramType });
        this.#socket!.send(bytes, to);
      },
      onError: (code) => edgeMetrics.rejected.inc({ reason: code }),
      onResent: () => this.metrics.resent.inc(),
      onSettled: () => this.#settled?.(),
    };
  }

  /** @throws HoldfastError listen_failed */
  async start(): Promise<void> {
    const { host, port } = this.address;
    try {
      const socket = await createDatagramSocket(SOCKET, {
        onDatagrams: (datagrams) => this.#receive(datagrams),
        onUnsent: (count) => this.metrics.unsent.inc(count),
        onFailure: this.onFailure,
      });
      this.#socket = socket;
      await socket.open(this.address);
      if (socket.dropped() !== undefined) this.metrics.showDropped(() => socket.dropped());
    } catch (error) {
      const problem = `cannot receive on ${host}:${port}/udp: ${messageOf(error)}`;
      throw new HoldfastError('listen_failed', `${problem}; set EDGE_UDP_LISTEN to where it can, or off`, true, error);
    }
  }

  /** Takes nothing more, and sends the acks of what was taken. */
  async stop(): Promise<void> {
    this.#stopping = true;
    while (this.#devices.isWaiting) await new Promise<void>((resolve) => (this.#settled = resolve));
    await this.#socket?.close();
  }

  #receive(datagrams: Datagrams): void {
    const { count } = datagrams;
    this.metrics.reads.inc();
    this.metrics.received.inc(count);
    for (let index = 0; index < count; index++) {
      const reason = this.#refusal(datagrams.bytes(index), datagrams.source(index));
      if (reason !== undefined) this.metrics.refused.inc({ reason });
    }
  }

  /** Takes what can be taken. @returns why nothing was, or not all */
  #refusal(bytes: Buffer, source: Source): Refusal | undefined {
    if (this.#stopping) return 'stopping';
    // Nobody can be answered at port 0.
    const datagram = portOf(source) === 0 ? 'malformed' : readDatagram(bytes);
    if (typeof datagram === 'string') return datagram;
    const { deviceId, recordsAt, hmacAt } = datagram;
    const known = this.#devices.get(deviceId);
    const key = known?.key ?? this.#keyOf(deviceId);
    if (!isGenuine(bytes, hmacAt, key)) return 'hmac';
    const device = known ?? new UdpDevice(deviceId, key, this.#outlet);
    if (!this.#devices.keep(device)) return 'devices';
    const records = bytes.subarray(recordsAt, hmacAt);
    return device.receive(records, source, this.options, this.#clock.now(), this.ingest) ? undefined : 'no_room';
  }

  #keyOf(deviceId: string): string {
    const { deviceSecret } = this.options;
    return deviceSecret === undefined ? '' : deviceToken(deviceSecret, deviceId);
  }
}
