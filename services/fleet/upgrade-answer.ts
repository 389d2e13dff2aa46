/** The edge's answer to an upgrade request: let in, or why not and when to come back. */
import type { ConnectionEnd } from './connection.js';
import { headerOf, readHead, refusalOf } from './http-head.js';

export interface UpgradeAnswer {
  /** Bytes of status line and headers. */
  readonly bytes: number;
  /** Undefined: let in. */
  readonly refusal: ConnectionEnd | undefined;
}

/**
 * @param text what came so far
 * @param accept the value of Sec-WebSocket-Accept that answers the request's key
 * @returns undefined while the headers are not whole
 */
export function readAnswer(text: string, accept: string): UpgradeAnswer | undefined {
  const head = readHead(text);
  if (head === undefined) return undefined;
  const { bytes, status } = head;
  if (status !== 101) return { bytes, refusal: refusalOf(head, text.slice(bytes)) };
  if (headerOf(head, 'sec-websocket-accept') === accept) return { bytes, refusal: undefined };
  return { bytes, refusal: { reason: 'its Sec-WebSocket-Accept is wrong', retryAfterMs: undefined, isRefused: true } };
}
