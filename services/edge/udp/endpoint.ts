/**
 * Datagrams of devices (datagram.ts), for those too small for a connection. Their records enter by the ingest and are acked
 * by datagram after the commit that holds them.
 *
 * Who cannot show an HMAC of the device's token hears nothing, whatever he sends; who can hears no more bytes than he sent,
 * so that a forged source address gains nobody anything. A datagram that is captured and sent again stores nothing twice: its
 * records carry seq and time, with which the table's key finds them, until retention has dropped the day that they were in.
 *
 * Node reads one datagram a system call; a long burst waits in the kernel's buffer, which is asked for large (the kernel
 * gives no more than net.core.rmem_max) and drops what does not fit: those are not acked, and come again.
 */
import { createSocket, type RemoteInfo, type Socket } from 'node:dgram';
import { once } from 'node:events';
import { isIPv6 } from 'node:net';
import type { Address } from '../../../shared/config.js';
import { HoldfastError, messageOf } from '../../../shared/errors.js';
import type { Part } from '../../../shared/lifecycle.js';
import { deviceToken } from '../../../shared/token.js';
import type { BinaryLimits } from '../binary-frames.js';
import type { Ingest } from '../ingest.js';
import type { EdgeMetrics } from '../metrics.js';
import { TurnClock } from '../turn-clock.js';
import { isGenuine, readDatagram } from './datagram.js';
import { UdpDevice, type Outlet } from './device.js';
import { UdpDevices } from './devices.js';
import type { Refusal, UdpMetrics } from './metrics.js';

export interface UdpOptions extends BinaryLimits {
  readonly deviceSecret: string | undefined;
  readonly udpDevices: number;
}

const RECEIVE_BUFFER_BYTES = 8 * 1024 * 1024;

export class UdpEndpoint implements Part {
  readonly name = 'UDP endpoint';
  readonly #clock = new TurnClock();
  readonly #devices: UdpDevices;
  readonly #socket: Socket;
  readonly #outlet: Outlet;
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
    const type = isIPv6(address.host) ? 'udp6' : 'udp4';
    this.#socket = createSocket({ type, recvBufferSize: RECEIVE_BUFFER_BYTES });
    this.#outlet = {
      send: (datagramType, bytes, to) => {
        this.metrics.sent.inc({ type: datagramType });
        this.#socket.send(bytes, to.port, to.address, this.#onSent);
      },
      onError: (code) => edgeMetrics.rejected.inc({ reason: code }),
      onResent: () => this.metrics.resent.inc(),
      onSettled: () => this.#settled?.(),
    };
  }

  /** @throws HoldfastError listen_failed */
  async start(): Promise<void> {
    const { host, port } = this.address;
    const listening = once(this.#socket, 'listening');
    this.#socket.bind({ address: host, port, exclusive: true });
    try {
      await listening;
    } catch (error) {
      throw new HoldfastError('listen_failed', `cannot receive on ${host}:${port}/udp: ${messageOf(error)}`, true);
    }
    this.#socket.on('error', this.onFailure);
    this.#socket.on('message', (bytes, source) => this.#receive(bytes, source));
  }

  /** Takes nothing more, and sends the acks of what was taken. */
  async stop(): Promise<void> {
    this.#stopping = true;
    while (this.#devices.isWaiting) await new Promise<void>((resolve) => (this.#settled = resolve));
    const closed = once(this.#socket, 'close');
    this.#socket.close();
    await closed;
  }

  #receive(bytes: Buffer, source: RemoteInfo): void {
    this.metrics.received.inc();
    const reason = this.#refusal(bytes, source);
    if (reason !== undefined) this.metrics.refused.inc({ reason });
  }

  /** Takes what can be taken. @returns why nothing was, or not all */
  #refusal(bytes: Buffer, source: RemoteInfo): Refusal | undefined {
    if (this.#stopping) return 'stopping';
    // Nobody can be answered at port 0.
    const datagram = source.port === 0 ? 'malformed' : readDatagram(bytes);
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

  readonly #onSent = (error: Error | null): void => {
    if (error !== null) this.metrics.unsent.inc();
  };
}
