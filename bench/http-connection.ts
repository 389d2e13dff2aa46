/** A client of a load over HTTP, keep-alive: one request under way, with as many records as a frame has; its 200 acks them all. */
import { LoadConnection } from './load-connection.js';
import { makePayload, noSeq, type FrameShape } from './record-block.js';

const HEADERS_END = '\r\n\r\n';
const OK = 'HTTP/1.1 200 ';
/** Of all records: who posts it is in the path, which is the same for all connections. */
const DEVICE = 'bench-http';

export class HttpConnection extends LoadConnection {
  protected override connected(): void {
    this.ready();
  }

  protected override consume(bytes: Buffer, end: number): number {
    const text = bytes.toString('latin1', 0, end);
    const headersEnd = text.indexOf(HEADERS_END);
    if (headersEnd < 0) return 0;
    if (!text.startsWith(OK)) throw new Error(`the edge answers ${text}`);
    const length = Number(/content-length: (\d+)/i.exec(text)?.[1]);
    const next = headersEnd + HEADERS_END.length + length;
    if (next > end) return 0;
    this.ackedThrough(this.sent);
    return next;
  }
}

/** The edge gives the records their seqs: they are all of one device. */
export function httpShape(payloadBytes: number, recordsAFrame: number): FrameShape {
  const record = `{"data":${makePayload(payloadBytes).toString('latin1')}}`;
  const records = Array.from({ length: recordsAFrame }, () => record).join(',');
  const body = recordsAFrame === 1 ? record : `[${records}]`;
  const head = [
    `POST /v1/devices/${DEVICE}/records HTTP/1.1`,
    'Host: 127.0.0.1',
    'Content-Type: application/json',
    `Content-Length: ${body.length}`,
    '\r\n',
  ].join('\r\n');
  return { frame: Buffer.from(head + body, 'latin1'), recordsAFrame, writeSeq: noSeq };
}
