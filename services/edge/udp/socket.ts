/**
 * A UDP socket as the endpoint needs it: what comes is handed over as many datagrams as were read at once, answers leave many
 * at once in the order they were given, and no datagram is an object or a string on its way.
 *
 * On Linux it is a LinuxSocket, which reads up to 64 datagrams a system call and sends up to 1,024. Where the layouts and
 * numbers that it needs are not known (another system or processor) it is a NodeSocket, one datagram a call: slower, and
 * otherwise the same.
 */
import type { Address } from '../../../shared/config.js';

/** Datagrams that were read at once. What it gives is valid during the call that it was given to. */
export interface Datagrams {
  readonly count: number;
  /** Its bytes; of one that is longer than the socket's limit, one byte more than the limit, by which it is known. */
  bytes(index: number): Buffer;
  source(index: number): Source;
}

/**
 * Where a datagram came from, to be given back to the socket that it came by. The bytes are the socket's own business but for
 * 2 and 3, which are the port, big-endian, as in the kernel's sockaddr_in and sockaddr_in6.
 */
export type Source = Buffer;

export function portOf(source: Source): number {
  return source.readUInt16BE(2);
}

export interface SocketOptions {
  /** What the kernel is asked to hold of what is not read yet; it gives no more than net.core.rmem_max. */
  readonly receiveBufferBytes: number;
  /** The longest datagram that is taken. */
  readonly receivedBytes: number;
  /** The longest that is sent. */
  readonly sentBytes: number;
}

/** Who has a socket. */
export interface SocketOwner {
  onDatagrams(datagrams: Datagrams): void;
  /** So many datagrams were given to the socket and not taken by the network. */
  onUnsent(count: number): void;
  /** The socket can no more. */
  onFailure(error: unknown): void;
}

export interface DatagramSocket {
  /** @returns the port, the kernel's choice where 0 was asked for. @throws Error that says what was refused and why */
  open(address: Address): Promise<number>;
  /** Sends a copy of the bytes, at the latest at the end of this turn of the event loop. */
  send(bytes: Buffer, to: Source): void;
  /** Datagrams that the kernel has dropped since the socket is open, as a rule for want of room; undefined: it does not say. */
  dropped(): number | undefined;
  /** Sends what was given, as far as the network takes it at once, and reads no more. */
  close(): Promise<void>;
}

/** A socket that is not open yet. koffi is loaded only where it is needed. */
export async function createDatagramSocket(options: SocketOptions, owner: SocketOwner): Promise<DatagramSocket> {
  const isKnown = process.platform === 'linux' && (process.arch === 'x64' || process.arch === 'arm64');
  if (!isKnown) return new (await import('./node-socket.js')).NodeSocket(options, owner);
  return new (await import('./linux-socket.js')).LinuxSocket(options, owner);
}
