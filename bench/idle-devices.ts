/** Devices that connect and then say nothing: a process of its own, so that only the edge's memory is looked at. */
import { DeviceConnection } from './device-connection.js';
import { binaryShape } from './device-frames.js';
import { runAsChild, tell } from './messages.js';
import { RecordBlock } from './record-block.js';

/** Connections that are being made at the same time: under the backlog of any listening socket. */
const CONNECTING_AT_ONCE = 100;

/** `idle-devices.js <port> <connections>`: tells when all are connected, and keeps them until it is ended. */
async function run(): Promise<void> {
  const [port, count] = process.argv.slice(2).map(Number);
  if (port === undefined || count === undefined) throw new Error('a port and a number of connections are needed');
  const block = new RecordBlock(binaryShape(200, 1), 1);
  const connections: DeviceConnection[] = [];
  while (connections.length < count) {
    const some = Array.from({ length: Math.min(CONNECTING_AT_ONCE, count - connections.length) }, (_, i) => {
      return new DeviceConnection(connections.length + i, '127.0.0.1', port, block, () => undefined, 'binary');
    });
    await Promise.all(some.map((connection) => connection.whenReady()));
    connections.push(...some);
  }
  tell('connected', { connections: connections.length });
  process.once('SIGTERM', () => {
    for (const connection of connections) connection.close();
    process.exit(0);
  });
}

runAsChild(run);
