/**
 * Faults of the network under a line, its fleet and the clients of live. Devices, edge, router and live are on hosts of their own
 * (hosts.ts), in a network that network-apart.ts runs in; the test's own host has the devices and live's clients, and by links
 * that no fault touches it asks the services how they are.
 *
 *   devices ── edge ── router ── live ══ clients, by two links
 */
import { execFile, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { packagePath } from '../../shared/paths.js';
import { deviceToken } from '../../shared/token.js';
import { LiveClient } from '../support/live.js';
import { freePorts, ServiceProcess, until } from '../support/processes.js';
import { DelayProxy } from './delay-proxy.js';
import { Fleet } from './fleet.js';
import { Host, join, type Link } from './hosts.js';
import { Line, type LineService } from './line.js';
import { outcomeOf, stopwatch, type Outcome } from './outcome.js';

/** A line whose services are on hosts of their own, with live and what lies between them. */
interface Network {
  readonly line: Line;
  readonly fleet: Fleet;
  readonly live: ServiceProcess;
  readonly liveUrls: readonly [string, string];
  /** From the devices, or the edge, or live, to the edge, the router, and clients of live. */
  readonly links: Readonly<Record<'devices' | 'edge' | 'clients' | 'otherClients', Link>>;
  /** A file that is /etc/hosts to all. */
  readonly hosts: string;
  /** How long a fault lasts, ms. */
  readonly forMs: number;
}

const ROUTER_ADDRESS = '10.99.2.2';
const OTHER_ADDRESS = '10.99.2.3';
const SECRET = 'a-secret-for-all-of-the-devices';
const LIVE_TOKEN = 'a-token-for-all-clients-of-live';
const SCRIPT = packagePath('dist', 'test', 'faults', 'network-apart.js');
const APART = ['unshare', '--net', '--mount', '--map-root-user', 'sh', '-c'] as const;
const UP = 'ip link set lo up && mount --bind "$HOSTS" /etc/hosts && exec "$@"';

/** Why no network can be made here, or undefined. */
export function networkMissing(): string | undefined {
  const test = [
    'ip link set lo up',
    'iptables -A INPUT -p tcp --dport 9 -m statistic --mode random --probability 0.3 -j DROP',
    'ip link add hf0a type veth peer name hf0b',
    'tc qdisc add dev hf0a root tbf rate 1mbit burst 32kb latency 400ms',
    'unshare --net true',
    'nsenter --net=/proc/self/ns/net true',
    'setpriv --pdeathsig KILL true',
  ].join(' && ');
  const { status, stderr } = spawnSync(APART[0], [...APART.slice(1), test], { encoding: 'utf8' });
  return status === 0
    ? undefined
    : `no network of one's own, with veth, tbf and iptables, can be made here: ${stderr.trim()}`;
}

/** Runs faults in a network of their own. @param hosts a file that becomes /etc/hosts there */
export function runApart(faults: readonly string[], forMs: number, hosts: string): Promise<Outcome[]> {
  writeFileSync(hosts, `${ROUTER_ADDRESS} router.test\n`);
  const words = [
    ...APART.slice(1),
    UP.replace('$HOSTS', hosts),
    'sh',
    process.execPath,
    SCRIPT,
    `${forMs}`,
    hosts,
    ...faults,
  ];
  return new Promise((resolve, reject) => {
    execFile(APART[0], words, { maxBuffer: 2 ** 24 }, (error, stdout, stderr) => {
      if (error === null) resolve(JSON.parse(stdout) as Outcome[]);
      else reject(new Error(`the faults ${faults.join()} ended with ${error.code ?? ''}: ${stderr}`));
    });
  });
}

type Fault = (network: Network) => Promise<void>;

const LOSS = '-m statistic --mode random --probability 0.3';

/** Something is so for a while. */
const lasting =
  (begin: (network: Network) => readonly (() => void)[]): Fault =>
  async (network) => {
    const ends = begin(network);
    await sleep(network.forMs);
    for (const end of ends) end();
  };

const stopped = (name: LineService): Fault =>
  lasting(({ line }) => {
    const { pid } = line.services[name];
    process.kill(pid, 'SIGSTOP');
    return [() => process.kill(pid, 'SIGCONT')];
  });

/** Every fault, by what it is called in the table. */
export const NETWORK_FAULTS: Readonly<Record<string, Fault>> = {
  'edge ↔ router cut': lasting(({ links }) => [links.edge.a.down()]),
  'edge → router cut one way': lasting(({ links }) => [links.edge.b.drop()]),
  'router → edge cut one way': lasting(({ links }) => [links.edge.a.drop()]),
  'edge ↔ router with 30 % loss': lasting(({ links }) => [links.edge.a.drop(LOSS), links.edge.b.drop(LOSS)]),
  'devices ↔ edge cut': lasting(({ links }) => [links.devices.a.down()]),
  'edge → devices cut one way': lasting(({ links }) => [links.devices.a.drop()]),
  'devices → edge cut one way': lasting(({ links }) => [links.devices.b.drop()]),
  'devices ↔ edge with 30 % loss': lasting(({ links }) => [links.devices.a.drop(LOSS), links.devices.b.drop(LOSS)]),
  'all at 1 Mbit/s': lasting(({ links }) =>
    [links.devices, links.edge].flatMap(({ a, b }) => [a.slow('1mbit'), b.slow('1mbit')]),
  ),
  'the router silent (SIGSTOP)': stopped('router'),
  'the edge silent (SIGSTOP)': stopped('edge'),
  'edge ↔ router cut by resets': lasting(({ links }) =>
    [links.edge.a, links.edge.b].map((end) => end.drop('', 'REJECT --reject-with tcp-reset')),
  ),
  'the router has another address': async ({ line, links, hosts }) => {
    // The old one is gone for good; the name stands for the new one some time later.
    links.edge.b.move(OTHER_ADDRESS);
    await until(async () => (await line.services.edge.metric('holdfast_queue_records')) > 0);
    writeFileSync(hosts, `${OTHER_ADDRESS} router.test\n`);
  },
  'a live client that never reads': async ({ live, liveUrls }) => {
    const [reading, deaf] = [await viewer(liveUrls[0]), await viewer(liveUrls[0])];
    deaf.socket.pause();
    await until(async () => (await live.metric('holdfast_dropped_total')) > 0);
    await hearsMore(reading);
    deaf.socket.resume();
    await until(() => deaf.messages.some((message) => 'dropped' in message));
    await Promise.all([reading.close(), deaf.close()]);
  },
  // Live takes a client for gone that has not answered a ping for a minute.
  'the link of a live client cut until it is let go': async ({ live, liveUrls, links }) => {
    const [reading, cut] = [await viewer(liveUrls[0]), await viewer(liveUrls[1])];
    const mend = links.otherClients.a.down();
    await until(async () => (await live.metric('holdfast_clients')) === 1);
    await hearsMore(reading);
    mend();
    await Promise.all([reading.close(), cut.close()]);
  },
};

async function viewer(url: string): Promise<LiveClient> {
  const client = await LiveClient.connect(url, [], { headers: { authorization: `Bearer ${LIVE_TOKEN}` } });
  await client.say({ subscribe: '*' });
  return client;
}

async function hearsMore(client: LiveClient): Promise<void> {
  await once(client.socket, 'message');
}

/** A fleet on a network through a fault, and what became of it. */
export async function meetFault(name: string, forMs: number, hostsFile: string): Promise<Outcome> {
  const hosts = { edge: await Host.make(), router: await Host.make(), live: await Host.make() };
  const { own } = Host;
  const links = {
    devices: join(own, hosts.edge, 1),
    edge: join(hosts.edge, hosts.router, 2),
    clients: join(own, hosts.live, 4),
    otherClients: join(own, hosts.live, 5),
  };
  const published = join(hosts.router, hosts.live, 3);
  const [toEdge, toRouter, toLive] = [
    join(own, hosts.edge, 11),
    join(own, hosts.router, 12),
    join(own, hosts.live, 13),
  ];
  const line = await Line.make({
    routerUrl: (port) => `tcp://router.test:${port}`,
    hosts: {
      edge: { launcher: hosts.edge.launcher, address: toEdge.b.address },
      router: { launcher: hosts.router.launcher, address: toRouter.b.address },
    },
    environment: { EDGE_DEVICE_SECRET: SECRET },
  });
  const [livePort, liveAdmin] = (await freePorts(2)) as [number, number];
  const live = new ServiceProcess(
    ['live'],
    {
      LIVE_LISTEN: `0.0.0.0:${livePort}`,
      LIVE_ADMIN_LISTEN: `0.0.0.0:${liveAdmin}`,
      LIVE_API_TOKEN: LIVE_TOKEN,
      LIVE_CLIENT_BUFFER: '64KiB',
      LIVE_ROUTER_PUBLISH: `tcp://${published.a.address}:${line.publishPort}`,
    },
    liveAdmin,
    hosts.live.launcher,
    undefined,
    toLive.b.address,
  );
  const liveUrls = [links.clients, links.otherClients].map(({ b }) => `ws://${b.address}:${livePort}/v1/live`) as [
    string,
    string,
  ];
  try {
    const started = live.start();
    started.catch(() => undefined);
    return await onLine(line, name, `ws://${links.devices.b.address}:${line.edgePort}`, async (fleet) => {
      await started;
      await NETWORK_FAULTS[name]!({ line, fleet, live, liveUrls, links, hosts: hostsFile, forMs });
    });
  } finally {
    await live.end();
    for (const link of [...Object.values(links), published, toEdge, toRouter, toLive]) link.remove();
    for (const host of Object.values(hosts)) await host.end();
  }
}

/** Every byte between edge and router is `delayMs` late. */
export async function longLine(delayMs: number, forMs: number): Promise<Outcome> {
  let proxy: DelayProxy | undefined;
  const line = await Line.make({
    proxy: async (intakePort) => (proxy = await DelayProxy.start(intakePort, delayMs)).port,
  });
  try {
    const name = `every byte between edge and router ${delayMs} ms late`;
    return await onLine(line, name, line.edgeUrl, () => sleep(forMs));
  } finally {
    await proxy?.stop();
  }
}

async function onLine(
  line: Line,
  name: string,
  edgeUrl: string,
  fault: (fleet: Fleet) => Promise<void>,
): Promise<Outcome> {
  const token = (deviceId: string): string => deviceToken(SECRET, deviceId);
  const fleet = new Fleet(edgeUrl, 10, { prefix: 'network', turnRecords: 2, token });
  try {
    await line.begin();
    fleet.send(10);
    await fleet.flushed();
    await fleet.during(fault(fleet));
    const seconds = stopwatch();
    await fleet.flushed();
    const findings = await line.check(fleet);
    return outcomeOf(name, [findings], [seconds()]);
  } finally {
    await fleet.close();
    fleet.history.close();
    await line.stop();
  }
}
