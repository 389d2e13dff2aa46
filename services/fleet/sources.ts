/**
 * How many connections this machine can have to one edge: a connection is told from others by its source address and port,
 * and the kernel gives about 28,000 ports an address. An edge on loopback is reached from as many addresses of 127.0.0.0/8 as
 * are needed; towards any other there is one.
 */
import { readFileSync } from 'node:fs';
import { HoldfastError } from '../../shared/errors.js';
import { isLoopback } from '../../shared/config.js';

/** Devices that share a source address, with ports to spare for connections that are on their way out. */
export const SOURCE_DEVICES = 20_000;
/** macOS' range, the smallest that is common. */
const PORTS_ELSEWHERE = 16_384;
const RANGE_FILE = '/proc/sys/net/ipv4/ip_local_port_range';

/**
 * The source addresses that a fleet needs; none: one will do, and the machine chooses it.
 * @param host the edge's IP address
 * @throws HoldfastError bad_config
 */
export function sourceAddresses(host: string, devices: number): readonly string[] {
  const ports = localPorts();
  if (devices <= Math.min(ports, SOURCE_DEVICES)) return [];
  const isLoopback4 = isLoopback(host) && host.includes('.');
  if (isLoopback4 && ports > SOURCE_DEVICES) {
    const count = Math.ceil(devices / SOURCE_DEVICES);
    if (count <= 250) return Array.from({ length: count }, (_, index) => `127.0.0.${index + 2}`);
  }
  if (devices <= ports) return [];
  const message = `--devices ${devices}: this machine has ${ports} ports for connections to ${host}; run fleets on several machines, or widen net.ipv4.ip_local_port_range`;
  throw new HoldfastError('bad_config', message, false);
}

/** How many ports the kernel gives to outgoing connections. */
function localPorts(): number {
  if (process.platform !== 'linux') return PORTS_ELSEWHERE;
  const [first, last] = readFileSync(RANGE_FILE, 'utf8').trim().split(/\s+/).map(Number) as [number, number];
  return last - first + 1;
}
