/** The head of an HTTP/1.1 answer, and what it says of whether the same request may be tried again. */
import type { ConnectionEnd } from './connection.js';

/** No edge answers with a longer one. */
export const MAX_HEAD_BYTES = 16 * 1024;
const MAX_RETRY_AFTER_SECONDS = 3_600;

export interface HttpHead {
  /** 0 where it is no HTTP/1.1. */
  readonly status: number;
  /** The status line without the version. */
  readonly statusText: string;
  /** Of status line and headers, with the empty line behind them. */
  readonly bytes: number;
  readonly text: string;
}

/** @param text what came so far, latin1. @returns undefined while it is not whole */
export function readHead(text: string): HttpHead | undefined {
  const end = text.indexOf('\r\n\r\n');
  if (end < 0) return undefined;
  const head = text.slice(0, end);
  const lineEnd = head.indexOf('\r\n');
  return {
    status: Number(/^HTTP\/1\.1 (\d{3})/.exec(head)?.[1] ?? 0),
    statusText: head.slice(9, lineEnd < 0 ? undefined : lineEnd),
    bytes: end + 4,
    text: head,
  };
}

/** @param name in lower case */
export function headerOf({ text }: HttpHead, name: string): string | undefined {
  return new RegExp(`^${name}:[ \\t]*(.*?)[ \\t]*$`, 'im').exec(text)?.[1];
}

/** What a refusal means for the device. @param body what the edge said of it */
export function refusalOf(head: HttpHead, body: string): ConnectionEnd {
  const { status, statusText } = head;
  const seconds = headerOf(head, 'retry-after');
  const isSeconds = seconds !== undefined && /^\d{1,9}$/.test(seconds);
  return {
    reason: `the edge answered ${statusText}: ${body.trim()}`,
    retryAfterMs: isSeconds ? Math.min(Number(seconds), MAX_RETRY_AFTER_SECONDS) * 1000 : undefined,
    // 408 and 429 pass, as all of 5xx; every other status stays.
    isRefused: status < 500 && status !== 408 && status !== 429,
  };
}
