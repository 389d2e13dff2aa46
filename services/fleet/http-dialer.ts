/** What the HTTP connections of a process share: where they go, what they send, and one buffer to read into. */
import type { ConnectionOwner, DeviceIdentity, Dialer, EdgeAddress, FleetConnection, RecordRun } from './connection.js';
import { HttpConnection } from './http-connection.js';
import { makePayload } from './payload.js';
import { RecordMessages } from './record-messages.js';
import type { StreamDialer } from './stream-connection.js';

/** Several records are not longer than this together, which every edge takes; a single one may be. */
const BODY_BYTES = 64 * 1024;
/** Over the longest head: a host name has 253 characters at most, an id 128. */
const HEAD_BYTES = 1024;

export class HttpDialer implements Dialer, StreamDialer {
  readonly messages: RecordMessages;
  readonly readBuffer = Buffer.alloc(64 * 1024);

  constructor(
    readonly edge: EdgeAddress,
    payloadBytes: number,
  ) {
    const layout = { headBytes: HEAD_BYTES, maxRecordBytes: BODY_BYTES };
    this.messages = new RecordMessages('json', makePayload(payloadBytes), layout);
  }

  dial(device: DeviceIdentity, owner: ConnectionOwner): FleetConnection {
    return new HttpConnection(this, device, owner);
  }

  /** What stands before the length in the head of every request of a device. */
  head({ id, token }: DeviceIdentity): string {
    const { name, port } = this.edge;
    const lines = [
      `POST /v1/devices/${id}/records HTTP/1.1`,
      `Host: ${name}:${port}`,
      'Content-Type: application/json',
      ...(token === undefined ? [] : [`Authorization: Bearer ${token}`]),
      'Content-Length: ',
    ];
    return lines.join('\r\n');
  }

  /** A request with the records of a run, in the buffer of `messages`. @param head what `head` made */
  request(head: string, run: RecordRun): Buffer {
    const { messages } = this;
    const end = messages.write(run);
    const wholeHead = `${head}${end - HEAD_BYTES}\r\n\r\n`;
    const start = HEAD_BYTES - wholeHead.length;
    messages.buffer.write(wholeHead, start, 'latin1');
    return messages.buffer.subarray(start, end);
  }
}
