/**
 * Hosts and links of a test: network namespaces, held by a process that sleeps in each, and pairs of veth between them. They are
 * made from within a user namespace whose root the test is, or by root, and go with the processes that hold them.
 *
 * An end of a link is 10.99.N.1 or 10.99.N.2. Kernels here have no netem, so packets are lost by iptables, at the end that gets them.
 */
import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { readlinkSync } from 'node:fs';
import { until } from '../support/processes.js';

/** Where processes may be: the test's own network, or one beside it. */
export class Host {
  private constructor(private readonly holder: ChildProcess | undefined) {}

  /** The network that the test is in. */
  static readonly own = new Host(undefined);

  static async make(): Promise<Host> {
    const words = ['--pdeathsig', 'KILL', 'unshare', '--net', 'sleep', 'infinity'];
    const host = new Host(spawn('setpriv', words, { stdio: 'ignore' }));
    await until(() => readlinkSync(`/proc/${host.pid}/ns/net`) !== readlinkSync('/proc/self/ns/net'));
    host.shell('ip link set lo up');
    return host;
  }

  get pid(): number {
    return this.holder?.pid ?? process.pid;
  }

  /** Words in front of a command that is to run there. */
  get launcher(): readonly string[] {
    return this.holder === undefined ? [] : ['nsenter', `--net=/proc/${this.pid}/ns/net`];
  }

  /** @throws Error where the command fails */
  shell(command: string): void {
    const words = [...this.launcher, 'sh', '-c', command];
    const { status, stderr } = spawnSync(words[0]!, words.slice(1), { encoding: 'utf8' });
    if (status !== 0) throw new Error(`${command}: ${stderr}`);
  }

  async end(): Promise<void> {
    if (this.holder === undefined) return;
    const exit = once(this.holder, 'exit');
    this.holder.kill('SIGKILL');
    await exit;
  }
}

/** One end of a link. */
export class LinkEnd {
  constructor(
    readonly host: Host,
    readonly device: string,
    readonly address: string,
  ) {}

  /** What comes in here is lost: all of it, or by a rule of iptables. @returns what ends that */
  drop(rule = '', target = 'DROP'): () => void {
    const words = `INPUT -i ${this.device} -p tcp ${rule} -j ${target}`;
    this.host.shell(`iptables -A ${words}`);
    return () => this.host.shell(`iptables -D ${words}`);
  }

  /** What goes out here goes slowly. */
  slow(rate: string): () => void {
    this.host.shell(`tc qdisc add dev ${this.device} root tbf rate ${rate} burst 32kb latency 400ms`);
    return () => this.host.shell(`tc qdisc del dev ${this.device} root`);
  }

  /** The cable is pulled. */
  down(): () => void {
    this.host.shell(`ip link set ${this.device} down`);
    return () => this.host.shell(`ip link set ${this.device} up`);
  }

  /** Its address is another from now on, and the old one is gone. */
  move(address: string): void {
    this.host.shell(`ip addr del ${this.address}/24 dev ${this.device}`);
    this.host.shell(`ip addr add ${address}/24 dev ${this.device}`);
  }
}

export interface Link {
  readonly a: LinkEnd;
  readonly b: LinkEnd;
  /** Takes it away. What the kernel does with it when a host ends, it does some time later. */
  remove(): void;
}

/** Joins two hosts. @param number of the link's network, that no other link has */
export function join(a: Host, b: Host, number: number): Link {
  const ends = [
    new LinkEnd(a, `hf${number}a`, `10.99.${number}.1`),
    new LinkEnd(b, `hf${number}b`, `10.99.${number}.2`),
  ] as const;
  Host.own.shell(`ip link add ${ends[0].device} type veth peer name ${ends[1].device}`);
  for (const { host, device, address } of ends) {
    if (host !== Host.own) Host.own.shell(`ip link set ${device} netns ${host.pid}`);
    host.shell(`ip addr add ${address}/24 dev ${device} && ip link set ${device} up`);
  }
  return { a: ends[0], b: ends[1], remove: () => a.shell(`ip link del ${ends[0].device}`) };
}
