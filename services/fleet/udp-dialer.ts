/**
 * What the devices of a process that send datagrams share: a few sockets, because a socket a device would be a file a device
 * for nothing. What comes is handed to the device that it names.
 */
import { createSocket, type Socket } from 'node:dgram';
import { isIPv6 } from 'node:net';
import type { ConnectionOwner, DeviceIdentity, Dialer, EdgeAddress, FleetConnection, RecordRun } from './connection.js';
import { makePayload } from './payload.js';
import { partOf, RecordMessages } from './record-messages.js';
import { UdpConnection } from './udp-connection.js';
import { addresseeOf, DATAGRAM_RECORD_BYTES, makeDatagram } from './udp-datagrams.js';

const SOCKETS = 4;
/** Acks of thousands of devices can come at once; the kernel gives as much of it as it may. */
const RECEIVE_BUFFER_BYTES = 4 * 1024 * 1024;

export class UdpDialer implements Dialer {
  readonly #messages: RecordMessages;
  readonly #sockets: readonly Socket[];
  readonly #connections = new Map<string, UdpConnection>();
  #turn = 0;

  constructor(
    private readonly edge: EdgeAddress,
    payloadBytes: number,
  ) {
    const layout = { headBytes: 0, maxRecordBytes: DATAGRAM_RECORD_BYTES };
    this.#messages = new RecordMessages('binary', makePayload(payloadBytes), layout);
    this.#sockets = Array.from({ length: SOCKETS }, () => this.#open());
  }

  dial(device: DeviceIdentity, owner: ConnectionOwner): FleetConnection {
    const connection = new UdpConnection(this, device, owner);
    this.#connections.set(device.id, connection);
    return connection;
  }

  /** Nothing is read for this connection any more. */
  forget(connection: UdpConnection): void {
    const { id } = connection.device;
    if (this.#connections.get(id) === connection) this.#connections.delete(id);
  }

  /** The key of a device's HMACs. */
  keyOf({ token }: DeviceIdentity): string {
    return token ?? '';
  }

  /** Sends records, in as few datagrams as they fit into. */
  send(device: DeviceIdentity, run: RecordRun): void {
    const { host, port } = this.edge;
    const messages = this.#messages;
    for (let done = 0; done < run.count;) {
      const now = Math.min(messages.recordsPerMessage, run.count - done);
      const end = messages.write(partOf(run, done, now));
      const bytes = makeDatagram(device.id, messages.buffer.subarray(0, end), this.keyOf(device));
      done += now;
      const socket = this.#sockets[this.#turn++ % SOCKETS]!;
      // A datagram that does not leave this machine is one that the network loses: it is not acked, and comes again.
      socket.send(bytes, port, host, () => undefined);
    }
  }

  #open(): Socket {
    const isV6 = isIPv6(this.edge.host);
    const socket = createSocket({
      type: isV6 ? 'udp6' : 'udp4',
      recvBufferSize: RECEIVE_BUFFER_BYTES,
      // The edge's name is resolved already.
      lookup: (host, _options, callback) => callback(null, host, isV6 ? 6 : 4),
    });
    socket.on('message', (bytes) => this.#connections.get(addresseeOf(bytes))?.receive(bytes));
    // The fleet's channel holds the process, not what may still come from an edge.
    socket.unref();
    return socket;
  }
}
