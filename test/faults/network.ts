/**
 * Faults of the network under a line and its fleet. They are made in a network namespace of its own (network-apart.ts is the
 * process that runs in it), where packets to and from a port can be dropped without anybody else's: a link is a port.
 *
 *   devices ↔ edge   the edge's port        edge ↔ router   the port of the intake
 */
import { execFile, spawnSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { packagePath } from '../../shared/paths.js';
import { until } from '../support/processes.js';
import { DelayProxy } from './delay-proxy.js';
import { Fleet } from './fleet.js';
import { Line } from './line.js';
import { outcomeOf, stopwatch, type Outcome } from './outcome.js';

export interface Network {
  readonly line: Line;
  readonly fleet: Fleet;
  /** How long a fault lasts, ms. */
  readonly forMs: number;
}

const SCRIPT = packagePath('dist', 'test', 'faults', 'network-apart.js');
const APART = ['unshare', '--net', '--mount', '--map-root-user', 'sh', '-c'] as const;
const UP = 'ip link set lo up && mount --bind "$HOSTS" /etc/hosts && exec "$@"';

/** Why no network can be made here, or undefined. */
export function networkMissing(): string | undefined {
  const test =
    'ip link set lo up && iptables -A INPUT -p tcp --dport 9 -m statistic --mode random --probability 0.3 -j DROP';
  const { status, stderr } = spawnSync(APART[0], [...APART.slice(1), test], { encoding: 'utf8' });
  return status === 0 ? undefined : `no network of one's own, with iptables, can be made here: ${stderr.trim()}`;
}

/** Runs faults in a network of their own. @param hosts a file that becomes /etc/hosts there */
export function runApart(faults: readonly string[], forMs: number, hosts: string): Promise<Outcome[]> {
  writeFileSync(hosts, '127.0.0.2 router.test\n');
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

type Fault = (network: Network, hosts: string) => Promise<void>;

const dropped =
  (rules: (line: Line) => readonly string[]): Fault =>
  async ({ line, forMs }) => {
    const all = rules(line).map((rule) => `INPUT -p tcp ${rule} -j DROP`);
    for (const rule of all) shell(`iptables -A ${rule}`);
    await sleep(forMs);
    for (const rule of all) shell(`iptables -D ${rule}`);
  };

const LOSS = '-m statistic --mode random --probability 0.3';
const both = (port: number, more = ''): string[] => [`--dport ${port} ${more}`, `--sport ${port} ${more}`];
const stopped =
  (name: 'edge' | 'router'): Fault =>
  async ({ line, forMs }) => {
    const { pid } = line.services[name];
    process.kill(pid, 'SIGSTOP');
    await sleep(forMs);
    process.kill(pid, 'SIGCONT');
  };

/** Every fault, by what it is called in the table. */
export const NETWORK_FAULTS: Readonly<Record<string, Fault>> = {
  'edge ↔ router cut': dropped(({ intakePort }) => both(intakePort)),
  'edge → router cut one way': dropped(({ intakePort }) => [`--dport ${intakePort}`]),
  'router → edge cut one way': dropped(({ intakePort }) => [`--sport ${intakePort}`]),
  'edge ↔ router with 30 % loss': dropped(({ intakePort }) => both(intakePort, LOSS)),
  'devices ↔ edge cut': dropped(({ edgePort }) => both(edgePort)),
  'edge → devices cut one way': dropped(({ edgePort }) => [`--sport ${edgePort}`]),
  'devices ↔ edge with 30 % loss': dropped(({ edgePort }) => both(edgePort, LOSS)),
  'all at 1 Mbit/s': async ({ forMs }) => {
    shell('tc qdisc add dev lo root tbf rate 1mbit burst 128kb latency 400ms');
    await sleep(forMs);
    shell('tc qdisc del dev lo root');
  },
  'the router silent (SIGSTOP)': stopped('router'),
  'the edge silent (SIGSTOP)': stopped('edge'),
  'edge ↔ router cut by resets': async ({ line, forMs }) => {
    const rules = both(line.intakePort).map((rule) => `INPUT -p tcp ${rule} -j REJECT --reject-with tcp-reset`);
    for (const rule of rules) shell(`iptables -A ${rule}`);
    await sleep(forMs);
    for (const rule of rules) shell(`iptables -D ${rule}`);
  },
  'the router has another address': async ({ line }, hosts) => {
    // The old one is gone for good; the name stands for the new one some time later.
    shell('iptables -A INPUT -p tcp -d 127.0.0.2 -j DROP');
    shell('iptables -A INPUT -p tcp -s 127.0.0.2 -j DROP');
    writeFileSync(hosts, '127.0.0.3 router.test\n');
    await until(async () => (await line.services.edge.metric('holdfast_queue_records')) > 0);
  },
};

/** A fleet on a line through a fault, and what became of it. */
export async function meetFault(name: string, forMs: number, hosts: string): Promise<Outcome> {
  const routerUrl = (port: number): string => `tcp://router.test:${port}`;
  const line = await Line.make({ routerUrl, intakeHost: '0.0.0.0' });
  return onLine(line, name, (fleet) => NETWORK_FAULTS[name]!({ line, fleet, forMs }, hosts));
}

/** Every byte between edge and router is `delayMs` late. */
export async function longLine(delayMs: number, forMs: number): Promise<Outcome> {
  let proxy: DelayProxy | undefined;
  const line = await Line.make({
    proxy: async (intakePort) => (proxy = await DelayProxy.start(intakePort, delayMs)).port,
  });
  try {
    return await onLine(line, `every byte between edge and router ${delayMs} ms late`, () => sleep(forMs));
  } finally {
    await proxy?.stop();
  }
}

async function onLine(line: Line, name: string, fault: (fleet: Fleet) => Promise<void>): Promise<Outcome> {
  await line.begin();
  const fleet = new Fleet(line.edgeUrl, 10, { prefix: 'network', turnRecords: 2 });
  try {
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

function shell(command: string): void {
  const { status, stderr } = spawnSync('sh', ['-c', command], { encoding: 'utf8' });
  if (status !== 0) throw new Error(`${command}: ${stderr}`);
}
