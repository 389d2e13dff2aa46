/**
 * What the edge is measured beside: the same uWebSockets.js server, which walks the records of each frame as far as their
 * seq and acks the last one once a turn of the event loop, and does nothing else: no checks, no queue, no disk.
 */
import { App, dataOf, listen, type WebSocket } from '../shared/uws.js';
import { runAsChild, tell } from './messages.js';

interface Session {
  device: string;
  seq: number;
  /** True while an ack is to be sent at the end of this turn. */
  dirty: boolean;
}

const PATH = '/v1/devices/';
const RECORD_HEADER_BYTES = 24;
const ACK = 1;
const HELLO = 5;

const ack = new DataView(new ArrayBuffer(16));
ack.setUint8(0, ACK);
const ackBytes = new Uint8Array(ack.buffer);
const dirty: WebSocket<Session>[] = [];

function onMessage(socket: WebSocket<Session>, message: ArrayBuffer): void {
  const session = dataOf(socket);
  const view = new DataView(message);
  const end = message.byteLength;
  let at = 0;
  while (at + RECORD_HEADER_BYTES <= end) {
    session.seq = view.getFloat64(at + 8, true);
    at += 4 + view.getUint32(at, true);
  }
  if (session.dirty) return;
  session.dirty = true;
  if (dirty.push(socket) === 1) setImmediate(sendAcks);
}

function sendAcks(): void {
  for (const socket of dirty) {
    const session = dataOf(socket);
    session.dirty = false;
    ack.setFloat64(8, session.seq, true);
    socket.send(ackBytes, true);
  }
  dirty.length = 0;
}

function hello(device: string): Uint8Array {
  const header = Buffer.alloc(16);
  header.writeUInt8(HELLO, 0);
  return Buffer.concat([header, Buffer.from(JSON.stringify({ hello: { device, window: 1_048_576 } }))]);
}

async function serve(): Promise<void> {
  const app = App();
  app.ws<Session>(`${PATH}*`, {
    maxPayloadLength: 256 * 1024,
    idleTimeout: 120,
    upgrade: (response, request, context) => {
      const session: Session = { device: request.getUrl().slice(PATH.length), seq: 0, dirty: false };
      const key = request.getHeader('sec-websocket-key');
      const protocol = request.getHeader('sec-websocket-protocol');
      const extensions = request.getHeader('sec-websocket-extensions');
      response.upgrade(session, key, protocol, extensions, context);
    },
    open: (socket) => void socket.send(hello(socket.getUserData().device), true),
    message: onMessage,
    close: (socket) => {
      const at = dirty.indexOf(socket);
      if (at >= 0) dirty.splice(at, 1);
    },
  });
  const listener = await listen(app, { host: '127.0.0.1', port: 0 });
  tell('listening', { port: listener.port });
  process.once('SIGTERM', () => process.exit(0));
}

runAsChild(serve);
