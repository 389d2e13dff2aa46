/** The edge's answer to an upgrade request: let in, or why not and when to come back. */
import type { ConnectionEnd } from './connection.js';

export interface UpgradeAnswer {
  /** Bytes of status line and headers. */
  readonly bytes: number;
  /** Undefined: let in. */
  readonly refusal: ConnectionEnd | undefined;
}

const MAX_RETRY_AFTER_SECONDS = 3_600;

/**
 * @param text what came so far
 * @param accept the value of Sec-WebSocket-Accept that answers the request's key
 * @returns undefined while the headers are not whole
 */
export function readAnswer(text: string, accept: string): UpgradeAnswer | undefined {
  const end = text.indexOf('\r\n\r\n');
  if (end < 0) return undefined;
  const bytes = end + 4;
  const head = text.slice(0, end);
  const status = Number(/^HTTP\/1\.1 (\d{3})/.exec(head)?.[1] ?? 0);
  if (status === 101) {
    if (headerOf(head, 'sec-websocket-accept') === accept) return { bytes, refusal: undefined };
    return {
      bytes,
      refusal: { reason: 'its Sec-WebSocket-Accept is wrong', retryAfterMs: undefined, isRefused: true },
    };
  }
  const seconds = headerOf(head, 'retry-after');
  const isSeconds = seconds !== undefined && /^\d{1,9}$/.test(seconds);
  const refusal = {
    reason: `the edge answered ${head.slice(9, head.indexOf('\r\n') < 0 ? undefined : head.indexOf('\r\n'))}: ${text.slice(bytes).trim()}`,
    retryAfterMs: isSeconds ? Math.min(Number(seconds), MAX_RETRY_AFTER_SECONDS) * 1000 : undefined,
    // 408 and 429 pass, as all of 5xx; every other status stays.
    isRefused: status < 500 && status !== 408 && status !== 429,
  };
  return { bytes, refusal };
}

function headerOf(head: string, name: string): string | undefined {
  return new RegExp(`^${name}:[ \\t]*(.*?)[ \\t]*$`, 'im').exec(head)?.[1];
}
