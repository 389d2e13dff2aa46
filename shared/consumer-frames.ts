/**
 * The frames of the router → subscribers links, little-endian.
 *
 *   PUB → SUB
 *     "batch"  + 16 position, 16 head position + batch     a batch, published once
 *     "head"   + 16 position of the last batch published      every 250 ms, so that a gap at the tail shows
 *
 *   consumer → router (DEALER → ROUTER), first byte the type
 *     ATTACH    1 | name, UTF-8
 *     ATTACHED  2 | 16 queue id | 16 cursor | 16 head position
 *     FETCH     3 | u32 request | 16 after | u32 max bytes
 *     FETCHED   4 | u32 request | 16 through | 16 head position  + any number of batches, a frame each
 *     ACK       5 | 16 position
 *     REFUSED   6 | reason, UTF-8
 *
 * FETCHED says `through` because it can lie behind the last batch: what was damaged at the router is passed over.
 */
import { decodeQueueId, encodeQueueId, QUEUE_ID_BYTES } from './links.js';
import { POSITION_BYTES, readPosition, writePosition, type Position } from './position.js';

export const BATCH_TOPIC = 'batch';
export const HEAD_TOPIC = 'head';

export const ConsumerType = { attach: 1, attached: 2, fetch: 3, fetched: 4, ack: 5, refused: 6 } as const;

/** The most that one FETCH may ask for. */
export const MAX_FETCH_BYTES = 16 * 1024 * 1024;

const MAX_NAME_BYTES = 128;

export interface Attached {
  readonly queueId: string;
  /** What the router knows this consumer to have acked. */
  readonly cursor: Position;
  readonly head: Position;
}

export interface Fetch {
  readonly request: number;
  readonly after: Position;
  readonly maxBytes: number;
}

export interface Fetched {
  readonly request: number;
  readonly through: Position;
  readonly head: Position;
}

export type ConsumerRequest =
  | { readonly type: 'attach'; readonly name: string }
  | ({ readonly type: 'fetch' } & Fetch)
  | { readonly type: 'ack'; readonly position: Position };

export type RouterReply =
  | ({ readonly type: 'attached' } & Attached)
  | ({ readonly type: 'fetched' } & Fetched)
  | { readonly type: 'refused'; readonly reason: string };

/** Position and head of a batch message's second frame. */
export function encodePublished(position: Position, head: Position): Buffer {
  const frame = Buffer.allocUnsafe(2 * POSITION_BYTES);
  writePosition(frame, head, writePosition(frame, position, 0));
  return frame;
}

export function encodeAttach(name: string): Buffer {
  return Buffer.concat([Buffer.of(ConsumerType.attach), Buffer.from(name, 'utf8')]);
}

export function encodeFetch(fetch: Fetch): Buffer {
  const frame = Buffer.allocUnsafe(9 + POSITION_BYTES);
  frame[0] = ConsumerType.fetch;
  frame.writeUInt32LE(fetch.request, 1);
  frame.writeUInt32LE(fetch.maxBytes, writePosition(frame, fetch.after, 5));
  return frame;
}

export function encodeConsumerAck(position: Position): Buffer {
  const frame = Buffer.allocUnsafe(1 + POSITION_BYTES);
  frame[0] = ConsumerType.ack;
  writePosition(frame, position, 1);
  return frame;
}

export function encodeAttached(attached: Attached): Buffer {
  const frame = Buffer.allocUnsafe(1 + QUEUE_ID_BYTES + 2 * POSITION_BYTES);
  frame[0] = ConsumerType.attached;
  encodeQueueId(attached.queueId).copy(frame, 1);
  writePosition(frame, attached.head, writePosition(frame, attached.cursor, 1 + QUEUE_ID_BYTES));
  return frame;
}

export function encodeFetched(fetched: Fetched): Buffer {
  const frame = Buffer.allocUnsafe(5 + 2 * POSITION_BYTES);
  frame[0] = ConsumerType.fetched;
  frame.writeUInt32LE(fetched.request, 1);
  writePosition(frame, fetched.head, writePosition(frame, fetched.through, 5));
  return frame;
}

export function encodeConsumerRefused(reason: string): Buffer {
  return Buffer.concat([Buffer.of(ConsumerType.refused), Buffer.from(reason, 'utf8')]);
}

/** @returns undefined where the frame is none that a consumer sends */
export function decodeRequest(frame: Buffer): ConsumerRequest | undefined {
  if (frame[0] === ConsumerType.attach && frame.length <= 1 + MAX_NAME_BYTES) {
    return { type: 'attach', name: frame.toString('utf8', 1) };
  }
  if (frame[0] === ConsumerType.fetch && frame.length === 9 + POSITION_BYTES) {
    const after = readPosition(frame, 5);
    if (after === undefined) return undefined;
    const maxBytes = Math.min(frame.readUInt32LE(5 + POSITION_BYTES), MAX_FETCH_BYTES);
    return { type: 'fetch', request: frame.readUInt32LE(1), after, maxBytes };
  }
  if (frame[0] === ConsumerType.ack && frame.length === 1 + POSITION_BYTES) {
    const position = readPosition(frame, 1);
    return position === undefined ? undefined : { type: 'ack', position };
  }
  return undefined;
}

/** @returns undefined where the frame is none that a router sends */
export function decodeReply(frame: Buffer): RouterReply | undefined {
  if (frame[0] === ConsumerType.refused) return { type: 'refused', reason: frame.toString('utf8', 1) };
  if (frame[0] === ConsumerType.attached && frame.length === 1 + QUEUE_ID_BYTES + 2 * POSITION_BYTES) {
    const cursor = readPosition(frame, 1 + QUEUE_ID_BYTES);
    const head = readPosition(frame, 1 + QUEUE_ID_BYTES + POSITION_BYTES);
    if (cursor === undefined || head === undefined) return undefined;
    return { type: 'attached', queueId: decodeQueueId(frame, 1), cursor, head };
  }
  if (frame[0] === ConsumerType.fetched && frame.length === 5 + 2 * POSITION_BYTES) {
    const through = readPosition(frame, 5);
    const head = readPosition(frame, 5 + POSITION_BYTES);
    if (through === undefined || head === undefined) return undefined;
    return { type: 'fetched', request: frame.readUInt32LE(1), through, head };
  }
  return undefined;
}
