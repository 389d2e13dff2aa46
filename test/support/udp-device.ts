/**
 * A device that sends its records by UDP, as the smallest firmware would: it keeps what is not acked and sends it again.
 * The datagrams are put together here anew, so that a mistake of the edge's codec is not made twice.
 *
 * A client of this protocol must give each record a seq of its own that it never gives again, and a time; send nothing over
 * 1,500 bytes; take from an ack only the seqs that it names; and wait longer before each resend.
 */
import { createHmac } from 'node:crypto';
import { createSocket, type Socket } from 'node:dgram';
import { once } from 'node:events';
import { isIPv6 } from 'node:net';
import { binaryRecord } from './device-socket.js';

export interface UdpRecord {
  readonly seq: number;
  /** ms since 1970. */
  readonly time: number;
  readonly data: unknown;
}

/** An ack, as it came. */
export interface UdpAck {
  readonly first: number;
  readonly last: number;
  readonly bitmap: number;
}

export interface UdpError {
  readonly seq: number;
  readonly code: number;
}

const HMAC_BYTES = 16;

/** A datagram of whatever records and key. */
export function udpDatagram(deviceId: string, records: Uint8Array, key: string, magic = 'HFU1'): Buffer {
  const id = Buffer.from(deviceId, 'latin1');
  const head = Buffer.concat([Buffer.from(magic, 'latin1'), Buffer.from([id.length]), id, records]);
  return Buffer.concat([head, createHmac('sha256', key).update(head).digest().subarray(0, HMAC_BYTES)]);
}

/** The records in the binary protocol's layout. */
export function udpRecords(records: readonly UdpRecord[]): Buffer {
  return Buffer.concat(
    records.map(({ seq, time, data }) => binaryRecord({ seq, time, payload: JSON.stringify(data) })),
  );
}

export class UdpDevice {
  /** Records that are not acked, by seq. */
  readonly unacked = new Map<number, UdpRecord>();
  readonly acks: UdpAck[] = [];
  readonly errors: UdpError[] = [];
  sentBytes = 0;
  receivedBytes = 0;
  /** Given to the socket, and not to the network yet. */
  unsentDatagrams = 0;
  /** Called for each seq that is acked. */
  onAcked: (seq: number) => void = () => undefined;
  readonly #socket: Socket;

  private constructor(
    readonly port: number,
    readonly id: string,
    private readonly key: string,
    /** Says of each datagram, in either direction, whether the network loses it. */
    private readonly isLost: () => boolean,
    private readonly host: string,
  ) {
    this.#socket = createSocket(isIPv6(host) ? 'udp6' : 'udp4');
    this.#socket.on('message', (bytes) => this.#receive(bytes));
  }

  /** @param key its token; '' where the edge has no secret */
  static async open(
    port: number,
    id: string,
    key = '',
    isLost = (): boolean => false,
    host = '127.0.0.1',
  ): Promise<UdpDevice> {
    const device = new UdpDevice(port, id, key, isLost, host);
    device.#socket.bind(0, host);
    await once(device.#socket, 'listening');
    return device;
  }

  /** Sends records in one datagram, and keeps them until they are acked. @param isLost true: they are only kept */
  send(records: readonly UdpRecord[], isLost = false): void {
    for (const record of records) this.unacked.set(record.seq, record);
    if (!isLost) this.sendBytes(udpDatagram(this.id, udpRecords(records), this.key));
  }

  sendBytes(bytes: Uint8Array): void {
    this.sentBytes += bytes.length;
    if (this.isLost()) return;
    this.unsentDatagrams++;
    // What cannot be sent is lost, as on any network.
    this.#socket.send(bytes, this.port, this.host, () => this.unsentDatagrams--);
  }

  async close(): Promise<void> {
    const closed = once(this.#socket, 'close');
    this.#socket.close();
    await closed;
  }

  #receive(bytes: Buffer): void {
    this.receivedBytes += bytes.length;
    if (this.isLost()) return;
    const at = 5 + bytes[4]!;
    const magic = bytes.toString('latin1', 0, 4);
    const expected = udpDatagram(this.id, bytes.subarray(at, bytes.length - HMAC_BYTES), this.key, magic);
    if (!expected.equals(bytes)) throw new Error(`the answer is not genuine: ${bytes.toString('hex')}`);
    if (magic === 'HFE1') {
      this.errors.push({ seq: bytes.readDoubleLE(at), code: bytes[at + 8]! });
      return;
    }
    const first = bytes.readDoubleLE(at);
    const ack = { first, last: bytes.readDoubleLE(at + 8), bitmap: bytes.readUInt32LE(at + 16) };
    if (magic !== 'HFA1' || bytes.length !== at + 20 + HMAC_BYTES) throw new Error(`no ack: ${bytes.toString('hex')}`);
    this.acks.push(ack);
    for (const seq of [...this.unacked.keys()]) {
      if (!isAcked(ack, seq)) continue;
      this.unacked.delete(seq);
      this.onAcked(seq);
    }
  }
}

function isAcked({ first, last, bitmap }: UdpAck, seq: number): boolean {
  if (seq >= first && seq <= last) return true;
  const bit = seq - last - 2;
  return bit >= 0 && bit < 32 && ((bitmap >>> bit) & 1) === 1;
}
