/**
 * A process on a network that is slower than what it sends: one socket floods another, and both are in this process. Writes as
 * JSON what became of the datagrams. socket.test.ts starts it.
 */
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { LinuxSocket } from '../../services/edge/udp/linux-socket.js';
import { until } from './processes.js';

const SENT = 2_000;
const DATAGRAM_BYTES = 200;

const numbers: number[] = [];
const receiver = createSocket({ type: 'udp4', recvBufferSize: 8 * 1024 * 1024 });
receiver.bind(0, '127.0.0.1');
await once(receiver, 'listening');
receiver.on('message', (bytes) => numbers.push(bytes.readUInt32LE(0)));

let unsent = 0;
const sender = new LinuxSocket(
  { receiveBufferBytes: 65_536, receivedBytes: 1_500, sentBytes: DATAGRAM_BYTES },
  {
    onDatagrams: () => undefined,
    onUnsent: (count) => (unsent += count),
    onFailure: (error) => {
      throw error;
    },
  },
);
await sender.open({ host: '127.0.0.1', port: 0 });
// sockaddr_in: family, port, address.
const to = Buffer.alloc(16);
to.writeUInt16LE(2, 0);
to.writeUInt16BE(receiver.address().port, 2);
to.set([127, 0, 0, 1], 4);

function send(number: number): void {
  const bytes = Buffer.alloc(DATAGRAM_BYTES);
  bytes.writeUInt32LE(number, 0);
  sender.send(bytes, to);
}

for (let number = 0; number < SENT; number++) send(number);
await until(() => numbers.length + unsent === SENT);
const received = numbers.length;
const isInOrder = numbers.every((number, index) => index === 0 || number > numbers[index - 1]!);
send(SENT);
await until(() => numbers.length === received + 1);
await sender.close();
receiver.close();
process.stdout.write(JSON.stringify({ sent: SENT, unsent, received, isInOrder, late: numbers.length - received }));
