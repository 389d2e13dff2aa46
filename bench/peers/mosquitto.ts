/** Mosquitto, QoS 1, with nobody subscribed: it keeps nothing and writes nothing, which is the least that it can do. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { BenchContext } from '../context.js';
import { freePort } from '../ports.js';
import { BenchProcess, untilListens } from '../processes.js';
import type { Peer, RunningPeer } from './peer.js';

export const mosquitto: Peer = {
  name: 'Mosquitto, QoS 1',
  load: { protocol: 'mqtt' },
  ackMeans: 'received; nothing is on disk, and without a subscriber nothing is kept',
  settings: 'allow_anonymous true, set_tcp_nodelay true, nobody subscribed',
  start,
};

async function start(context: BenchContext): Promise<RunningPeer> {
  const directory = context.newDirectory('mosquitto');
  mkdirSync(directory, { recursive: true });
  const port = await freePort();
  const file = join(directory, 'mosquitto.conf');
  writeFileSync(file, `listener ${port} 127.0.0.1\nallow_anonymous true\nset_tcp_nodelay true\n`);
  const words = ['--pdeathsig', 'KILL', 'mosquitto', '-c', file];
  const process = new BenchProcess({ name: 'mosquitto', command: 'setpriv', arguments: words, ipc: false });
  await untilListens(process, port);
  return {
    port,
    cpuSeconds: () => process.cpuSeconds(),
    count: () => undefined,
    stop: async () => {
      await process.stop();
      context.remove(directory);
    },
  };
}
