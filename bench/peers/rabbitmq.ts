/**
 * RabbitMQ: persistent messages to one durable classic queue, confirmed.
 *
 * A node needs epmd, Erlang's register of names: one of the bench's own, on a port of its own, so that none stays behind.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { BenchContext } from '../context.js';
import { freePort } from '../ports.js';
import { BenchProcess, untilListens } from '../processes.js';
import type { Peer, RunningPeer } from './peer.js';
import { treeCpuSeconds } from './process-tree.js';

/** Not the wrapper on the PATH, which changes to a user that may not write where the bench does. */
const SERVER = '/usr/lib/rabbitmq/bin/rabbitmq-server';
/** From listening to being able to take a connection. */
const SETTLE_MS = 3_000;

export const rabbitMq: Peer = {
  name: 'RabbitMQ, durable queue',
  load: { protocol: 'amqp' },
  ackMeans: 'written to its log and synced (publisher confirms of persistent messages)',
  settings: 'one durable classic queue, delivery mode 2, confirm mode',
  start,
};

async function start(context: BenchContext): Promise<RunningPeer> {
  const directory = context.newDirectory('rabbitmq');
  mkdirSync(directory, { recursive: true });
  const [port, epmdPort, distributionPort] = [await freePort(), await freePort(), await freePort()];
  writeFileSync(join(directory, 'enabled_plugins'), '[].\n');
  const epmd = new BenchProcess({
    name: 'epmd',
    command: 'setpriv',
    arguments: ['--pdeathsig', 'KILL', 'epmd', '-port', String(epmdPort), '-address', '127.0.0.1'],
    ipc: false,
  });
  const node = new BenchProcess({
    name: 'rabbitmq-server',
    command: 'setpriv',
    arguments: ['--pdeathsig', 'KILL', SERVER],
    environment: {
      PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
      LANG: 'C.UTF-8',
      HOME: directory,
      ERL_EPMD_PORT: String(epmdPort),
      RABBITMQ_NODENAME: 'bench@localhost',
      RABBITMQ_NODE_IP_ADDRESS: '127.0.0.1',
      RABBITMQ_NODE_PORT: String(port),
      RABBITMQ_DIST_PORT: String(distributionPort),
      RABBITMQ_MNESIA_BASE: join(directory, 'mnesia'),
      RABBITMQ_LOG_BASE: join(directory, 'log'),
      RABBITMQ_CONFIG_FILE: join(directory, 'none'),
      RABBITMQ_ENABLED_PLUGINS_FILE: join(directory, 'enabled_plugins'),
    },
    ipc: false,
  });
  await untilListens(node, port);
  await sleep(SETTLE_MS);
  return {
    port,
    cpuSeconds: () => treeCpuSeconds(node.pid),
    // Its own count of a queue lags behind; every confirm was counted by the load.
    count: () => undefined,
    stop: async () => {
      await node.stop();
      await epmd.stop();
      context.remove(directory);
    },
  };
}
