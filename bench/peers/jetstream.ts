/** NATS JetStream: one stream in files, each message acked to its publisher. */
import { mkdirSync } from 'node:fs';
import { createConnection } from 'node:net';
import type { BenchContext } from '../context.js';
import { freePort } from '../ports.js';
import { BenchProcess, untilListens } from '../processes.js';
import { NATS_SUBJECT } from './nats-connection.js';
import type { Peer, RunningPeer } from './peer.js';

const STREAM = 'RECORDS';
const INBOX = '_INBOX.bench';
const ANSWER_TIMEOUT_MS = 10_000;

export const jetStream: Peer = {
  name: 'NATS JetStream',
  load: { protocol: 'nats' },
  ackMeans: 'given to the file system; fsynced every 2 minutes (its default)',
  settings: 'nats-server --jetstream, one stream, storage file',
  start,
};

async function start(context: BenchContext): Promise<RunningPeer> {
  const directory = context.newDirectory('nats');
  mkdirSync(directory, { recursive: true });
  const port = await freePort();
  const words = ['--jetstream', '--store_dir', directory, '--addr', '127.0.0.1', '--port', String(port)];
  const command = ['--pdeathsig', 'KILL', 'nats-server', ...words];
  const process = new BenchProcess({ name: 'nats-server', command: 'setpriv', arguments: command, ipc: false });
  await untilListens(process, port);
  const made = await ask(port, `STREAM.CREATE.${STREAM}`, { name: STREAM, subjects: [NATS_SUBJECT], storage: 'file' });
  if ('error' in made) throw new Error(`JetStream made no stream: ${JSON.stringify(made)}`);
  return {
    port,
    cpuSeconds: () => process.cpuSeconds(),
    count: () => countOf(port),
    stop: async () => {
      await process.stop();
      context.remove(directory);
    },
  };
}

async function countOf(port: number): Promise<number> {
  const { state } = (await ask(port, `STREAM.INFO.${STREAM}`, {})) as { state?: { messages: number } };
  if (state === undefined) throw new Error('JetStream tells no state of its stream');
  return state.messages;
}

/** One question to JetStream's API. */
function ask(port: number, what: string, question: object): Promise<object> {
  const body = JSON.stringify(question);
  return new Promise((resolve, reject) => {
    let heard = '';
    const socket = createConnection({ host: '127.0.0.1', port }, () => {
      const publish = `PUB $JS.API.${what} ${INBOX} ${Buffer.byteLength(body)}\r\n${body}\r\n`;
      socket.write(`CONNECT {"verbose":false,"pedantic":false}\r\nSUB ${INBOX} 1\r\n${publish}`);
    });
    socket.setTimeout(ANSWER_TIMEOUT_MS, () => socket.destroy(new Error(`JetStream does not answer: ${heard}`)));
    socket.on('data', (chunk) => {
      heard += chunk.toString('utf8');
      const answer = /MSG \S+ 1 \d+\r\n(.*)\r\n/.exec(heard)?.[1];
      if (answer === undefined) return;
      socket.destroy();
      resolve(JSON.parse(answer) as object);
    });
    socket.once('error', reject);
  });
}
