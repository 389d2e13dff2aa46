/**
 * The ZeroMQ links: every socket's options in one place, one send loop a socket, and the frames of the edge → router
 * link. The frames of the router → consumer link stand in consumer-frames.ts.
 *
 *   edge → router (DEALER → ROUTER), little-endian, first byte the type
 *     HELLO    1 | 16 queue id | 16 next position | shard, UTF-8        edge: who I am, what I would send next
 *     WELCOME  2 | 16 last position stored | f64 credit, bytes         router: go on after this
 *     DATA     3 | 16 position of the batch sent before  + batch       edge: in a second frame
 *     ACK      4 | 16 last position stored | f64 credit, bytes
 *     REFUSED  5 | reason, UTF-8                                       router: say HELLO (again), or fix what it says
 *
 * DATA names its predecessor because ZeroMQ loses what was under way when a connection breaks and goes on with what comes
 * after: a router that took the later batch would ack over the gap. Identities are ZeroMQ's own, because a fixed identity
 * is ignored or leaks after a kill (libzmq #2019, #4407); the queue id in HELLO says who speaks.
 */
import { POSITION_BYTES, readPosition, writePosition, type Position } from './position.js';

/** ZeroMQ's keep-alive and back-off, the same for every socket. */
export const SOCKET_OPTIONS = {
  linger: 0,
  immediate: true,
  heartbeatInterval: 1_000,
  heartbeatTimeout: 4_000,
  heartbeatTimeToLive: 5_000,
  handshakeInterval: 5_000,
  connectTimeout: 5_000,
  reconnectInterval: 100,
  reconnectMaxInterval: 2_000,
  tcpKeepalive: 1,
  backlog: 1_024,
  maxMessageSize: 8 * 1024 * 1024,
  ipv6: false,
} as const;

/**
 * Of sockets whose messages may wait to be taken. They send no heartbeats: where libzmq reads nothing more because the
 * receive queue is full, and the peer is gone, its own next heartbeat ends the process (`Assertion failed: !_io_error`,
 * libzmq 4.3.5; #3937 and #4767 are its kin). A peer that is silent is found out by TCP instead, within ten seconds.
 */
export const RECEIVING_OPTIONS = {
  ...SOCKET_OPTIONS,
  heartbeatInterval: 0,
  tcpKeepaliveIdle: 5,
  tcpKeepaliveInterval: 1,
  tcpKeepaliveCount: 4,
  tcpMaxRetransmitTimeout: 9_000,
} as const;

/** Of sockets whose subscribers are such: these are asked for a sign of life, and may be late with their own work. */
export const PUBLISHING_OPTIONS = { ...SOCKET_OPTIONS, heartbeatTimeToLive: 0 } as const;

export const LinkType = { hello: 1, welcome: 2, data: 3, ack: 4, refused: 5 } as const;

export const QUEUE_ID_BYTES = 16;
const CREDIT_BYTES = 8;
const MAX_SHARD_BYTES = 128;

export interface Hello {
  readonly queueId: string;
  readonly next: Position;
  readonly shard: string;
}

/** WELCOME and ACK: what is stored, and how many bytes may be under way. */
export interface Standing {
  readonly stored: Position;
  readonly creditBytes: number;
}

export function encodeHello(hello: Hello): Buffer {
  const head = Buffer.allocUnsafe(1 + QUEUE_ID_BYTES + POSITION_BYTES);
  head[0] = LinkType.hello;
  encodeQueueId(hello.queueId).copy(head, 1);
  writePosition(head, hello.next, 1 + QUEUE_ID_BYTES);
  return Buffer.concat([head, Buffer.from(hello.shard, 'utf8')]);
}

/** @returns undefined where the frame is no HELLO */
export function decodeHello(frame: Buffer): Hello | undefined {
  const next = frame[0] === LinkType.hello ? readPosition(frame, 1 + QUEUE_ID_BYTES) : undefined;
  const shardAt = 1 + QUEUE_ID_BYTES + POSITION_BYTES;
  if (next === undefined || frame.length > shardAt + MAX_SHARD_BYTES) return undefined;
  const shard = frame.toString('utf8', shardAt);
  return { queueId: decodeQueueId(frame, 1), next, shard };
}

export function encodeStanding(type: typeof LinkType.welcome | typeof LinkType.ack, standing: Standing): Buffer {
  const frame = Buffer.allocUnsafe(1 + POSITION_BYTES + CREDIT_BYTES);
  frame[0] = type;
  frame.writeDoubleLE(standing.creditBytes, writePosition(frame, standing.stored, 1));
  return frame;
}

/** @returns undefined where the frame is neither WELCOME nor ACK */
export function decodeStanding(frame: Buffer): Standing | undefined {
  const stored = readPosition(frame, 1);
  if (stored === undefined || frame.length !== 1 + POSITION_BYTES + CREDIT_BYTES) return undefined;
  const creditBytes = frame.readDoubleLE(1 + POSITION_BYTES);
  return creditBytes >= 0 ? { stored, creditBytes } : undefined;
}

export function encodeDataHeader(previous: Position): Buffer {
  const frame = Buffer.allocUnsafe(1 + POSITION_BYTES);
  frame[0] = LinkType.data;
  writePosition(frame, previous, 1);
  return frame;
}

/** @returns the position of the batch sent before, or undefined where the frame is no DATA header */
export function decodeDataHeader(frame: Buffer): Position | undefined {
  return frame[0] === LinkType.data && frame.length === 1 + POSITION_BYTES ? readPosition(frame, 1) : undefined;
}

export function encodeRefused(reason: string): Buffer {
  return Buffer.concat([Buffer.of(LinkType.refused), Buffer.from(reason, 'utf8')]);
}

/** A UUID's 16 bytes. */
export function encodeQueueId(queueId: string): Buffer {
  return Buffer.from(queueId.replaceAll('-', ''), 'hex');
}

/** The UUID in the 16 bytes at `at`. */
export function decodeQueueId(frame: Buffer, at: number): string {
  const hex = frame.toString('hex', at, at + QUEUE_ID_BYTES);
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join('-');
}
